"""The ways to compare with: each as its own users would write it well, with the same token, pages and concurrency.

The peers are told how many pages there are, and ask for no more; the client has to find out. Their models have the
fields of ours, and leave the wire's sentinels as they are.
"""

import asyncio
import operator
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from functools import cache, reduce
from types import UnionType
from typing import Any, Final, get_args, get_origin

import aiohttp
import httpx
import msgspec
import orjson
import requests
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from .server import SIZE

HEADERS: Final = {"Authorization": "Bearer token", "Accept": "application/json"}
PLACES: Final = 16
"""Requests in flight: as many as the client's own default."""


# ---------------------------------------------------------------- pydantic


class Model(BaseModel):
    """What all models share."""

    model_config = ConfigDict(alias_generator=to_camel)


class Signal(Model):
    """Coverage in one country."""

    code: str | None = None
    name: str | None = None
    networks: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()


class Throttle(Model):
    """How fast an unlimited package is in the end."""

    throttle_speed: Decimal | None = None
    throttle_speed_unit: str | None = None
    throttle_threshold: Decimal | None = None
    throttle_threshold_unit: str | None = None


class Requirements(Model):
    """What a package needs to know."""

    travel_date: bool = False


class Package(Model):
    """Something to buy."""

    package_id: str
    package: str = ""
    price: Decimal
    day: int | None = None
    plan: str | None = None
    activation: str | None = None
    is_unlimited: bool = False
    data_amount: Decimal | None = None
    data_unit: str = "MB"
    call_type: str | None = None
    call_amount: Decimal | None = None
    call_unit: str | None = None
    sms_type: str | None = None
    sms_amount: Decimal | None = None
    sms_unit: str | None = None
    with_sms: bool = Field(default=False, alias="withSMS")
    with_call: bool = False
    with_hotspot: bool = False
    with_data_roaming: bool = False
    with_destination_install: bool = False
    with_usage_check: bool = True
    with_throttle: bool = False
    throttle: Throttle | None = None
    requirements: Requirements = Requirements()
    is_apn_automatic: bool = Field(default=True, alias="isAPNAutomatic")
    apn: str | None = None
    apn_username: str | None = None
    apn_password: str | None = None
    notes: tuple[str, ...] = ()


class Destination(Model):
    """A destination and its packages."""

    id: str = ""
    country_name: str = ""
    country_code: str = ""
    country_slug: str = ""
    region: str | None = None
    geography: str | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    image: str | None = None
    signals: tuple[Signal, ...] = ()
    packages: tuple[Package, ...] = ()


class Page(Model):
    """One page."""

    packages: tuple[Destination, ...] = ()
    page: int | None = None
    page_size: int | None = None
    total: int | None = None
    total_pages: int | None = None


class Envelope(Model):
    """What each answer comes in."""

    data: Page


# ---------------------------------------------------------------- msgspec


@cache
def struct(model: type[BaseModel]) -> Any:
    """Make a struct with the fields of a model. It is part of no cycle, so the collector need not look at it."""
    fields: list[Any] = []
    for name, field in model.model_fields.items():
        default = field.default
        if isinstance(default, BaseModel):
            default = msgspec.field(default_factory=struct(type(default)))
        fields.append((name, _structs(field.annotation), *([] if field.is_required() else [default])))
    names = {name: field.alias or name for name, field in model.model_fields.items()}
    return msgspec.defstruct(model.__name__, fields, kw_only=True, gc=False, rename=names)


def _structs(kind: Any) -> Any:
    """Put structs in the place of models in an annotation."""
    if get_origin(kind) is tuple:
        return tuple[_structs(get_args(kind)[0]), ...]
    if isinstance(kind, UnionType):
        return reduce(operator.or_, map(_structs, get_args(kind)))
    return struct(kind) if issubclass(kind, BaseModel) else kind


# ---------------------------------------------------------------- one page


def read_dicts(body: bytes) -> list[Any]:
    """Give the destinations of a page as they come."""
    return orjson.loads(body)["data"]["packages"]  # type: ignore[no-any-return]


def read_models(body: bytes) -> tuple[Destination, ...]:
    """Give the destinations of a page as models; orjson and ``model_validate`` together take longer."""
    return Envelope.model_validate_json(body).data.packages


_decoder: Final = msgspec.json.Decoder(struct(Envelope))


def read_structs(body: bytes) -> tuple[Any, ...]:
    """Give the destinations of a page as structs."""
    return _decoder.decode(body).data.packages  # type: ignore[no-any-return]


# ---------------------------------------------------------------- the whole catalogue; each way gives its length


def address(url: str, page: int) -> str:
    """Give the address of a page of the catalogue."""
    return f"{url}/api/esim/packages?page={page}&pageSize={SIZE}"


async def gathered(fetch: Callable[[int], Awaitable[Iterable[Any]]], pages: int) -> list[Iterable[Any]]:
    """Fetch all pages, so many at once."""
    semaphore = asyncio.Semaphore(PLACES)

    async def one(page: int) -> Iterable[Any]:
        async with semaphore:
            return await fetch(page)

    return await asyncio.gather(*map(one, range(1, pages + 1)))


async def _with_aiohttp(read: Callable[[bytes], Iterable[Any]], url: str, pages: int) -> list[Iterable[Any]]:
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as session:

        async def fetch(page: int) -> Iterable[Any]:
            async with session.get(address(url, page)) as response:
                return read(await response.read())

        return await gathered(fetch, pages)


async def bare(url: str, pages: int) -> int:
    """Read it with aiohttp and orjson into dicts: the limit."""
    found = [
        package
        for page in await _with_aiohttp(read_dicts, url, pages)
        for group in page
        for package in group["packages"]
    ]
    return len(found)


async def structs(url: str, pages: int) -> int:
    """Read it with aiohttp and msgspec."""
    return len(_flat(await _with_aiohttp(read_structs, url, pages)))


async def models(url: str, pages: int) -> int:
    """Read it with aiohttp and pydantic: the best stack that is in use."""
    return len(_flat(await _with_aiohttp(read_models, url, pages)))


async def sdk(url: str, pages: int) -> int:
    """Read it with httpx and pydantic: what generated SDKs are made of."""
    async with httpx.AsyncClient(headers=HEADERS) as client:

        async def fetch(page: int) -> Iterable[Any]:
            response = await client.get(address(url, page))
            return read_models(response.raise_for_status().content)

        return len(_flat(await gathered(fetch, pages)))


def script(url: str, pages: int) -> int:
    """Read it with requests, one page after another."""
    found: list[Any] = []
    with requests.Session() as session:
        session.headers.update(HEADERS)
        for page in range(1, pages + 1):
            response = session.get(address(url, page), timeout=30)
            response.raise_for_status()
            found += [package for group in response.json()["data"]["packages"] for package in group["packages"]]
    return len(found)


def _flat(pages: Iterable[Iterable[Any]]) -> list[Any]:
    return [package for page in pages for group in page for package in group.packages]


# ---------------------------------------------------------------- one small call


async def balances(url: str, calls: int) -> int:
    """Ask for the balance with aiohttp and orjson, again and again."""
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as session:
        for _ in range(calls):
            async with session.get(f"{url}/api/balance") as response:
                orjson.loads(await response.read())["data"]
    return calls
