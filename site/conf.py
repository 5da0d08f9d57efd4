"""Sphinx's settings for the site. `python tools/book.py` gathers its source and calls Sphinx."""

from pathlib import Path

import book
from docutils import nodes

project = "Teach a network to read digits"
html_title = "MNIST and LeNet-5"
language = "en"
smartquotes = False  # as the notebooks have it
exclude_patterns = ["downloads"]
extensions = [
    "myst_nb",  # chapters
    "sphinx.ext.autodoc",  # lenet_utils
    "sphinx.ext.viewcode",  # its source
    "sphinx.ext.mathjax",  # formulas
]

# Nothing is executed, and nothing comes from elsewhere.
nb_execution_mode = "off"
nb_ipywidgets_js = {}
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}}  # whose parts are not on the site

nb_merge_streams = True
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
myst_heading_slug_func = "book.slug"

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
add_module_names = False

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_use_index = html_domain_indices = False  # there is a search
html_context = {"default_mode": "auto"}  # light or dark as the system is, until one chooses
html_sidebars = {"index": [], "teaching": []}
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "navigation_depth": 2,
    "secondary_sidebar_items": ["page-toc"],
    "search_bar_text": "Search",
    "show_toc_level": 2,
    "footer_start": [],
    "footer_end": [],
}


def describe_figures(app, doctree):
    """A figure's words stand in its notebook's metadata; MyST-NB leaves them there."""
    for image in doctree.findall(nodes.image):
        if text := book.alternatives().get(Path(image["uri"]).stem):
            image["alt"] = text


def plain_docstring(app, kind, name, thing, options, lines):
    lines[:] = book.as_rst(lines)


def is_left_out(app, kind, name, thing, skip, options):
    """The fields of named tuples, of which Python says only their place."""
    if (getattr(thing, "__doc__", "") or "").startswith("Alias for field number"):
        return True


def setup(app):
    app.connect("doctree-read", describe_figures)
    app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("autodoc-skip-member", is_left_out)
