"""The file of a catalogue: a line with a checksum, a line about the search, and the pages in JSON."""

import json
import os
import secrets
import zlib
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import Any, Final

import attrs

from roamify_async._serde.fields import HINT, json_name

from ._value import Value
from .catalogue import Catalogue, CatalogueSource, Selection
from .packages import Destination, DestinationGroup, ListPackages, Package, PackagePage

NAME: Final = b"roamify-catalogue"
VERSION: Final = 1


@attrs.define(kw_only=True, eq=False, repr=False)
class _Page(Value):
    """A page with its ETag, which the JSON of a ``PackagePage`` omits."""

    groups: tuple[DestinationGroup, ...] = attrs.field(default=(), metadata=json_name("packages"))
    page: int | None = attrs.field(default=None, metadata=HINT)
    page_size: int | None = attrs.field(default=None, metadata=HINT)
    total: int | None = attrs.field(default=None, metadata=HINT)
    total_pages: int | None = attrs.field(default=None, metadata=HINT)
    etag: str | None = None


@attrs.define(kw_only=True, eq=False, repr=False)
class _Pages(Value):
    pages: tuple[_Page, ...] = ()


_SHARED: Final = tuple(field.name for field in attrs.fields(_Page))


def save(catalogue: Catalogue, path: str | PathLike[str]) -> None:
    """Write a catalogue to a file."""
    source = catalogue.source
    is_whole = source is not None and bool(source.pages) and not source.filters
    head = {
        "search": None if source is None else source.request.to_dict(),
        "filters": [] if source is None else [selection.to_dict() for selection in source.filters],
        "isWhole": is_whole,
    }
    pages = source.pages if source is not None and is_whole else (PackagePage(groups=_groups(catalogue.packages)),)
    body = _Pages(pages=tuple(_Page(**{name: getattr(page, name) for name in _SHARED}) for page in pages)).to_json()
    content = f"{json.dumps(head)}\n{body}\n".encode()
    first = b"%s %d %08x %d\n" % (NAME, VERSION, zlib.crc32(content), len(content))
    _write(Path(path), first + content)


def _groups(packages: tuple[Package, ...]) -> tuple[DestinationGroup, ...]:
    """Return packages grouped by destination, in their order."""
    runs = (tuple(run) for _, run in groupby(packages, key=lambda package: id(package.destination)))
    return tuple(DestinationGroup(destination=run[0].destination, packages=run) for run in runs)


def _write(path: Path, content: bytes) -> None:
    """Replace a file atomically."""
    target = path.resolve()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(path: str | PathLike[str]) -> Catalogue:
    """Read a catalogue from a file."""
    first, _, content = Path(path).read_bytes().partition(b"\n")
    name, *numbers = first.split(b" ")
    if name != NAME or not numbers or not numbers[0].isdigit():
        raise ValueError(f"{os.fspath(path)} is not a saved catalogue, or its beginning is damaged")
    if int(numbers[0]) != VERSION:
        raise ValueError(
            f"{os.fspath(path)} was saved by another version of the library (format {int(numbers[0])}, not {VERSION})"
        )
    if numbers[1:] != [b"%08x" % zlib.crc32(content), b"%d" % len(content)]:
        raise ValueError(
            f"{os.fspath(path)} is damaged: its content differs from what was saved; read the catalogue again"
        )
    about, _, body = content.partition(b"\n")
    head: dict[str, Any] = json.loads(about)
    pages = tuple(
        PackagePage(**{name: getattr(page, name) for name in _SHARED}) for page in _decode(body.rstrip()).pages
    )
    search = None if head["search"] is None else ListPackages.from_dict(head["search"])
    filters = tuple(Selection.from_dict(selection) for selection in head["filters"])
    if search is not None and head["isWhole"]:
        return Catalogue.of_pages(CatalogueSource(search, pages, filters))
    return Catalogue(_packages(pages), None if search is None else CatalogueSource(search, (), filters))


def _decode(body: bytes) -> _Pages:
    from roamify_async._serde.fast_decoder import fast_decoder

    fast = fast_decoder(_Pages, "")
    if fast is None:  # pragma: no cover -- a test checks that all fields are supported
        return _Pages.from_json(body)
    try:
        pages: _Pages = fast(body)
    except Exception:  # noqa: BLE001 -- values that the API would not send, such as lone surrogates
        return _Pages.from_json(body)
    return pages


def _packages(pages: tuple[PackagePage, ...]) -> tuple[Package, ...]:
    """Return the packages of pages. Equal destinations become one object."""
    known: dict[Destination, Destination] = {}
    for group in (group for page in pages for group in page.groups):
        group.destination = known.setdefault(group.destination, group.destination)
        for package in group.packages:
            package.destination = group.destination
    return tuple(package for page in pages for package in page.packages)
