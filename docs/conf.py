"""Sphinx builds the documentation with this: ``./run_docs.sh``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import common

LOG = logging.getLogger(__name__)

project = "tf-separation-suite"
author = "the authors of tf-separation-suite"
version = release = common.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["build", "images"]
highlight_language = "bash"
nitpicky = False

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_use_rtype = False

PAGES_OF_READMES = {
    "common/separation/README.md": "/separating.md",
    "harmony_split/README.md": "/browser.md",
}

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["static"]
html_css_files = ["style.css"]
html_show_copyright = False
html_show_sphinx = False


def mathml(node: nodes.math | nodes.math_block, as_block: bool) -> str:
    """Return a formula as MathML, which needs no script and no network."""
    # docutils puts the index of an accented letter under it; the group keeps it aside.
    formula = re.sub(r"\\hat (\w)(?=[_^])", r"{\\hat \1{}}", node.astext())
    try:
        return latex2mathml.tex2mathml(formula, as_block=as_block)
    except MathError as error:
        LOG.warning("%s: %s", node.astext(), error, location=node)
        return ""


def write_formula(self: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    self.body.append(mathml(node, as_block=False))
    raise nodes.SkipNode


def write_displayed_formula(self: Any, node: nodes.math_block) -> None:
    """Write a formula in a line of its own."""
    self.body.append(f'<div class="formula">{mathml(node, as_block=True)}</div>')
    raise nodes.SkipNode


def skip(app: Any, what: str, name: str, member: Any, skipped: bool, _: Any) -> bool:
    """Leave out the fields of named tuples, which their class describes."""
    return skipped or (member.__doc__ or "").startswith("Alias for field number")


def lead_to_pages(app: Any, path: Path, page: str, content: list[str]) -> None:
    """Let links of a README that is included lead to the page of another README."""
    for readme, target in PAGES_OF_READMES.items():
        content[0] = content[0].replace(f"(../{readme})", f"({target})")


def setup(app: Any) -> dict[str, bool]:
    """Register the writers of formulas."""
    app.connect("include-read", lead_to_pages)
    app.connect("autodoc-skip-member", skip)
    app.add_node(nodes.math, override=True, html=(write_formula, None))
    app.add_node(nodes.math_block, override=True, html=(write_displayed_formula, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
