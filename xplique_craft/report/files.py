"""What every page is made of and ends as: templates and texts in, one HTML text out."""

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..plots.style import RESIDUAL_COLOR
from .numbers import interval, number, percent, scientific

_PACKAGE = "xplique_craft.report"


def text(name: str) -> str:
    """A file that the package ships beside this one."""
    return resources.files(_PACKAGE).joinpath(name).read_text(encoding="utf-8")


def stylesheet(*names: str) -> Markup:
    """Style sheets of the package, one after the other; one colour is that of the figures."""
    return Markup("".join(map(text, names)).replace("RESIDUAL_COLOR", RESIDUAL_COLOR))


def digest_of(script: str) -> str:
    """By which a page's security policy knows its own script, and lets no other run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def render(template: str, **values: Any) -> str:
    """A template of the package with its values; what it is not given is an error."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    """Made once, for compiling the templates takes as long as half a page."""
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
    return environment
