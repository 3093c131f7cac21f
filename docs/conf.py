"""How the pages are built: `make docs`."""

from importlib.metadata import version as installed_version

project = "dimscope"
version = release = installed_version("dimscope")
copyright = "dimscope's authors, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# Tables that a command writes are shown by the page beside them.
exclude_patterns = ["_build", "recipes/*/*.md"]
highlight_language = "none"

html_theme = "furo"
html_title = "dimscope"
html_copy_source = False

# Docstrings are written as they are read in an editor: `name` is code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 80
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
