"""Sphinx configuration: the pages of this folder, and the public API from its docstrings."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

import holotype

project = "Holotype"
author = copyright = "The Holotype developers"
release = version = holotype.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
# Links out of this folder (examples, CONTRIBUTING.md) are checked by tests/test_docs.py.
suppress_warnings = ["myst.xref_missing"]

autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Source", "Source")]
default_role = "code"  # docstrings put code into single backticks, as Markdown does
# Types of other packages and of Holotype's own modules have no page here.
nitpick_ignore_regex = [("py:.*", ".*")]

html_theme = "furo"
html_title = f"Holotype {release}"
html_static_path = ["static"]
html_css_files = ["figures.css"]
smartquotes_action = "qe"  # quotes and ellipses: `--` begins an option and is no dash
