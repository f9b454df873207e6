"""How Sphinx builds the documentation: ``make docs``."""

from __future__ import annotations

import pyxen

project = "pyxen"
author = "the pyxen developers"
version = release = pyxen.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"pyxen {release}"
exclude_patterns = ["_build"]
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "separated"
suppress_warnings = ["ref.python"]  # fields called "type" are many; the link goes to one of them
