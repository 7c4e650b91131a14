"""
Report: explanations in, one self-contained HTML file out (no server, no network, no widget).

`write_report` explains classes, `write_comparison` compares methods. Both draw with Jinja2 (the
files that end in `.j2`, `.css` and `.js`) and matplotlib. They are the only callers of the plots:
styles, orders and numbers come from there.
"""

from .compare import write_comparison
from .page import write_report

__all__ = ["write_comparison", "write_report"]
