"""What every page is made of and ends as: templates and texts in, one HTML file out."""

from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .._checks import check_is
from ..plots.style import RESIDUAL_COLOR
from .numbers import interval, number, percent, scientific

_PACKAGE = "xplique_craft.report"


def text(name: str) -> str:
    """A file that the package ships beside this one."""
    return resources.files(_PACKAGE).joinpath(name).read_text(encoding="utf-8")


def stylesheet(*names: str) -> Markup:
    """Style sheets of the package, one after the other; one colour is that of the figures."""
    return Markup("".join(map(text, names)).replace("RESIDUAL_COLOR", RESIDUAL_COLOR))


def render(template: str, **values: Any) -> str:
    """A template of the package with its values; what it is not given is an error."""
    environment = Environment(
        loader=PackageLoader(_PACKAGE, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        filter.__name__: filter for filter in (number, percent, interval, scientific)
    }
    return environment.get_template(template).render(**values)


def write(page: str, path: str | Path) -> Path:
    """Write a page, and the folders above it; an OSError says why it cannot be written."""
    path = Path(check_is("path", path, (str, Path), "the path of a file"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        raise type(error)(
            error.errno,
            f"`path` must be a file that can be written ({error.strerror}): choose another place",
            str(path),
        ) from error
    return path
