"""Configuration of Sphinx: ``sphinx-build -W -b html docs build/docs``."""

import os
import re
import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

import roamify_async

project = "roamify_async"
author = "The roamify_async founders"
copyright = f"2026, {author}"
release = version = roamify_async.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinxext.opengraph",
    "api_reference",
]
exclude_patterns = ["_extensions"]
root_doc = "index"

html_theme = "furo"
html_title = f"roamify_async {release}"
html_extra_path = ["llms.txt"]
html_copy_source = False
html_show_sourcelink = False
ogp_site_url = "https://roamify-async.readthedocs.io/"
ogp_social_cards = {"enable": False}  # They need fonts that are fetched.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
default_role = "literal"  # Single backquotes, as in the help of the sandbox.
napoleon_numpy_docstring = False

# Inventories come from the network; without them names of other packages are shown without links.
if "READTHEDOCS" in os.environ:
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "aiohttp": ("https://docs.aiohttp.org/en/stable", None),
        "attrs": ("https://www.attrs.org/en/stable", None),
        "anyio": ("https://anyio.readthedocs.io/en/stable", None),
    }

_ABOVE = {"readme": "README.md", "changelog": "CHANGELOG.md"}
"""Pages whose text is a file above this folder."""


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    """Take the text of some pages from above, and let links of Markdown files in the repository lead to the pages."""
    if page in _ABOVE:
        text = (Path(app.srcdir).parent / _ABOVE[page]).read_text("utf-8")
        source[0] = text.replace("](docs/", "](").replace("](README.md", "](readme.md")
    source[0] = re.sub(r"\]\((?:\.\./)*(README|CHANGELOG)\.md", lambda found: f"](/{found[1].lower()}.md", source[0])


def _without_options(_: Sphinx, __: str, name: str, ___: object, ____: object, lines: list[str]) -> None:
    """Leave the options to the page of the sandbox, where they are a list."""
    if name.endswith("sandbox.Sandbox"):
        del lines[lines.index("All options are keyword arguments:") :]


_texts: dict[str, list[str]] = {}


def _keep_text(_: Sphinx, what: str, name: str, ___: object, ____: object, lines: list[str]) -> None:
    """Keep the text of an attribute, in which napoleon would take what stands before a colon for a type."""
    if what in {"attribute", "property"}:
        _texts[name] = [*lines]


def _restore_text(_: Sphinx, __: str, name: str, ___: object, ____: object, lines: list[str]) -> None:
    """Restore what was kept."""
    lines[:] = _texts.pop(name, lines)


def setup(app: Sphinx) -> None:
    """Register the lexer of diagrams, which are shown as text, and the functions above."""
    app.add_lexer("mermaid", TextLexer)
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _without_options, priority=100)
    app.connect("autodoc-process-docstring", _keep_text, priority=100)
    app.connect("autodoc-process-docstring", _restore_text, priority=900)
