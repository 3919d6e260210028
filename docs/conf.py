"""How the manual is built: ``make docs``. Pages are Markdown (MyST); the API's pages come from the docstrings."""

import sys
from pathlib import Path

import vxlab

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project, author = "vxlab", "the vxlab authors"
release = version = vxlab.__version__
language = "en"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "api_pages",
    "notebook_pages",
]
exclude_patterns = ["README.md", "_*"]

# Every reference must hold, and everything that is read lies here: nothing is fetched.
nitpicky = True
keep_warnings = True

myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
suppress_warnings = ["ref.python"]  # a type in a signature may have two names, its module's and its package's

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
autodoc_inherit_docstrings = False
napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_rtype = False
add_module_names = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 80

html_theme = "pydata_sphinx_theme"
html_title = "vxlab"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_context = {"default_mode": "auto"}  # as the reader's system has it
html_sidebars = {"**": ["all-pages"]}
html_css_files = ["manual.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_prev_next": True,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_show_copyright = False
copybutton_exclude = ".linenos, .gp, .go"
