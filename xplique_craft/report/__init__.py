"""
Report: explanations in, one self-contained HTML file out (no server, no network, no widget).

`write_report` explains classes, `write_comparison` compares methods. Both draw with Jinja2 and
matplotlib, and import nothing of the package but `results`, `plots` and the checks of arguments:
styles, orders and numbers come from there. On the way from an explanation to its page,

    page        checks the explanations and writes the page
    sections    makes the section of each class of
    concepts      names, styles and cards of its concepts,
    verdict       what its quality means in words,
    waterfalls    what its score is made of,
    views         its pictures with concepts laid over them,
    tree          what its concepts are made of
    numbers, pictures, figures    write numbers, pixels and plots
    files         fills in the templates

and the files that end in `.j2` say where each stands (page, then parts and tree). The page's
colours are at the top of page.css, those of concepts and plots in `plots.style`. A new figure is
drawn in `plots`, made in `sections` and placed in page.html.j2.
"""

from .compare import write_comparison
from .page import write_report

__all__ = ["write_comparison", "write_report"]
