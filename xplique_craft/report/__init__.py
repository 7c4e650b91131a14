"""
Report: explanations in, one self-contained HTML file out (no server, no network, no widget).

`write_report` draws with Jinja2 (`page.html.j2`, `page.css`, `page.js`) and matplotlib. It is the
only caller of the plots: styles, orders and numbers come from there.
"""

from .page import write_report

__all__ = ["write_report"]
