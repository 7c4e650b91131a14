"""
Report: explanations in, self-contained HTML out (no server, no network, no widget).

`write_report` explains classes, `write_comparison` compares methods, `write_atlas` lists all
classes of a model. They draw with Jinja2 and
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

`write_atlas` makes a folder of pages of a whole model's summary and its classes' explanations:

    atlas             checks them and writes the files
    atlas_thumbnails    the sheet of crops of each class
    atlas_classes       what pages say of classes and their concepts; the index
    atlas_shared, atlas_map, atlas_confusions    the other pages

and the files that end in `.j2` say where each stands (page, then parts and tree). The page's
colours are at the top of page.css, those of concepts and plots in `plots.style`. A new figure is
drawn in `plots`, made in `sections` and placed in page.html.j2.
"""

from .atlas import write_atlas
from .compare import write_comparison
from .page import write_report

__all__ = ["write_atlas", "write_comparison", "write_report"]
