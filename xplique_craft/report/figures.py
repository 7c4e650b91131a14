"""matplotlib figures as SVG that can stand in a page beside others and follow its colours."""

import io
import re

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..plots.style import INK, MUTED

_REMOVED = (
    r"<\?xml.*?\?>",
    r"<!DOCTYPE.*?>",
    r"<!--.*?-->",
    r"<metadata>.*?</metadata>",
    # it speaks of every element of the page; page.css says it of figures alone
    r"<style type=\"text/css\">.*?</style>",
    r"<defs>\s*</defs>",
    r"\sxmlns(:\w+)?=\"[^\"]*\"",
)


def _lighter(pattern: re.Match[str]) -> str:
    """A hatch in fewer bytes: dots as round ends of lines of no length, not as eight curves."""
    text, dots = re.subn(r"M ([-\d.]+) ([-\d.]+) \n(?:C[^CMz]*)+z\s*", r"M\1 \2h0", pattern[0])
    if dots:
        text = text.replace("stroke-linecap: butt", "stroke-linecap: round")
        text = text.replace("stroke-width: 1.0", "stroke-width: 1.8")
    return re.sub(r"\s*\n\s*", " ", text)


def inline_svg(ax: Axes, key: str, label: str) -> Markup:
    """
    The figure of some axes as an SVG element.

    Parameters
    ----------
    ax
        Drawn with `INK` and `MUTED`, which become the page's own colours.
    key
        Unique on the page, of letters, digits and "-": it goes before every id. The same figure
        and key give the same text.
    label
        What the figure shows, for those who cannot see it.

    Returns
    -------
    svg
        Markup with a viewBox, no fixed size, no date, no namespace, no style sheet. A group with
        gid "value-of-concept-3" gets data-value-of="3", for the page's script.
    """
    figure = ax.get_figure(root=True)
    if not isinstance(figure, Figure):
        raise TypeError("`ax` must be on a figure: make it with the functions of `plots`.")
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    text = buffer.getvalue()
    for pattern in _REMOVED:
        text = re.sub(pattern, "", text, flags=re.DOTALL)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'id="value-of-concept-(\d+)"', r'data-value-of="\1"', text)
    # only what is referred to keeps its id
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    text = re.sub(r'\sid="([^"]+)"', lambda m: f' id="{key}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(href="|url\()#', rf"\1#{key}-", text)
    text = text.replace(INK, "currentColor").replace(MUTED, "var(--faint)")
    text = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", text)
    text = re.sub(r" transform=\"rotate\(-0 [^\"]*\"", "", text)
    text = re.sub(r"<pattern.*?</pattern>", _lighter, text, flags=re.DOTALL)
    # an SVG of matplotlib measures points
    width, height = (72 * inches for inches in figure.get_size_inches())
    opening = (
        f'<svg class="figure" role="img" aria-label="{Markup.escape(label)}" '
        f'viewBox="0 0 {width:g} {height:g}" style="max-width:{width * 4 / 3:.0f}px">'
    )
    return Markup(re.sub(r"<svg\b[^>]*>", lambda _: opening, text, count=1).strip())
