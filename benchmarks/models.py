"""The catalogue in pydantic and msgspec: with the fields of ours, and the wire's sentinels left as they are."""

import operator
from decimal import Decimal
from functools import cache, reduce
from types import UnionType
from typing import Any, get_args, get_origin

import msgspec
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


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
        return tuple[_structs(get_args(kind)[0]), ...]  # type: ignore[misc]
    if isinstance(kind, UnionType):
        return reduce(operator.or_, map(_structs, get_args(kind)))
    return struct(kind) if issubclass(kind, BaseModel) else kind
