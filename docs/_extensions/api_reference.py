"""Directives of the reference: the calls of a resource, the options and the faults of the sandbox.

.. calls:: orders

.. sandbox-options::
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any, ClassVar

import attrs
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring

from roamify_async import AsyncRoamify
from roamify_async.sandbox.faults.rules import FAULTS
from roamify_async.sandbox.options import Options

_CONFIG = Config(napoleon_use_param=True, napoleon_use_rtype=True)
_MODULES = re.compile(r"(?:[a-z_]+\.)+(?=[A-Za-z_])")
"""The path of a module before a name, which a reader of a signature does not need."""


class _Generated(Directive):
    """A directive whose content is reStructuredText that is made from the code."""

    has_content = True

    def lines(self) -> Iterator[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        container = nodes.container()
        container.document = self.state.document
        content = StringList()
        for line in self.lines():
            content.append(line, self.state_machine.input_lines.source(0))
        self.state.nested_parse(content, 0, container)
        return container.children


class Calls(_Generated):
    """The calls of a resource of the clients, with their signatures and documentation."""

    required_arguments = 1
    OWN: ClassVar = {"as_async", "engine", "mode"}

    def lines(self) -> Iterator[str]:
        name = self.arguments[0]
        resource = getattr(AsyncRoamify("a-token"), name)
        for call in vars(type(resource)):
            if not call.startswith("_") and call not in self.OWN:
                yield from _described(f"{name}.{call}", getattr(resource, call))


def _described(name: str, call: Any) -> Iterator[str]:
    yield f".. py:method:: {name}{_signature(call)}"
    yield ""
    document = GoogleDocstring(inspect.getdoc(call) or "", _CONFIG, what="method")
    for line in str(document).splitlines():
        yield f"   {line}"
    yield ""


def _signature(call: Any) -> str:
    return _MODULES.sub("", str(inspect.signature(call)))


class SandboxOptions(_Generated):
    """The options of the sandbox."""

    def lines(self) -> Iterator[str]:
        for field in attrs.fields(Options):
            yield f"``{field.name}``"
            yield f"   {_quoted(field.metadata['help'])} {_default(field)}"
            yield ""


def _default(field: "attrs.Attribute[Any]") -> str:
    default = field.default
    if isinstance(default, attrs.Factory):
        return ""
    return f"Default: ``{default / 100:.2f}``." if field.name == "balance" else f"Default: ``{default!r}``."


class SandboxFaults(_Generated):
    """The faults that the sandbox can be told to produce."""

    def lines(self) -> Iterator[str]:
        for name, text in FAULTS.items():
            yield f"``{name}``"
            yield f"   {_quoted(text[0].upper() + text[1:])}."
            yield ""


def _quoted(text: str) -> str:
    """Turn single backquotes, as in the help of a command, into those of code."""
    return re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text).replace("*", r"\*")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("calls", Calls)
    app.add_directive("sandbox-options", SandboxOptions)
    app.add_directive("sandbox-faults", SandboxFaults)
    return {"parallel_read_safe": True}
