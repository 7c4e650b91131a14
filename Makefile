# Needs make and one Python from 3.10 to 3.13; `make demo PYTHON=python3.12` chooses which. Tests run
# in WORKERS processes, of about 2.5 GB each; slow ones, which measure time and memory, in one.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test slow test-all format clean

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Settings: PYTHON=$(PYTHON) VENV=$(VENV) WORKERS=$(WORKERS)"

demo: $(VENV)/.installed ## explain the model that the package ships, as a page in demo-report/
	$(BIN)/xplique-craft demo --output demo-report

test: $(VENV)/.installed-dev ## all checks: format, lint, types, and the tests but for the slow ones
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile

slow: $(VENV)/.installed-dev ## the slow tests alone
	$(BIN)/python -m pytest -m slow

test-all: test slow ## all checks and all tests

format: $(VENV)/.installed-dev ## format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove the environment and all that the other targets wrote
	rm -rf $(VENV) build dist *.egg-info demo-report .mypy_cache .pytest_cache .ruff_cache
	find xplique_craft tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps say what is installed; pip runs again only where pyproject.toml is newer than they are.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 10) <= v < (3, 14) or sys.exit(\
	"Python 3.10 to 3.13 is needed, and $(PYTHON) is %d.%d: try PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.created
	@echo "Installing into $(VENV); with TensorFlow's CUDA wheels, on Linux, that is about 7 GB."
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.created
	@echo "Installing into $(VENV); with TensorFlow's CUDA wheels, on Linux, that is about 7 GB."
	$(PIP) --editable '.[dev]'
	@touch $(VENV)/.installed $@
