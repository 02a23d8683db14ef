"""attrs validators with error messages that say what is allowed."""

import difflib
import math
from collections.abc import Callable, Iterable
from typing import Any

from attrs import Attribute
from attrs.validators import and_, ge, instance_of, le, lt, not_

Validator = Callable[[Any, "Attribute[Any]", Any], Any]

integer: Validator = and_(instance_of(int), not_(instance_of(bool)))
finite_number: Validator = and_(instance_of((int, float)), not_(instance_of(bool)), lt(math.inf))


def nearest(value: object, known: Iterable[str]) -> str:
    """Return a question that ends a message, with the known text that is most similar to *value*."""
    return f": did you mean {difflib.get_close_matches(str(value), [*known], n=1, cutoff=0)[0]!r}?"


def one_of_many(known: Iterable[str]) -> Validator:
    """Return a validator for one of many words, whose error message names the most similar one too."""
    words = [*known]

    def validate(_instance: object, attribute: "Attribute[Any]", value: object) -> None:
        if value not in words:
            raise ValueError(
                f"{attribute.name} must be one of {', '.join(words)}, not {value!r}{nearest(value, words)}"
            )

    return validate


def must_be(description: str, *validators: Validator) -> Validator:
    """Return a validator that raises ValueError with the attribute's name and this description."""

    def validate(instance: object, attribute: "Attribute[Any]", value: object) -> None:
        try:
            and_(*validators)(instance, attribute, value)
        except (TypeError, ValueError):
            raise ValueError(f"{attribute.name} must be {description}, not {value!r}") from None

    return validate


def parsed_by(parse: Callable[[Any], object]) -> Validator:
    """Return a validator that calls a parser, and prefixes the message of its ValueError with the attribute's name."""

    def validate(_instance: object, attribute: "Attribute[Any]", value: object) -> None:
        try:
            parse(value)
        except ValueError as error:
            raise ValueError(f"{attribute.name}: {error}") from None

    return validate


def integer_between(least: int, most: int | None = None) -> Validator:
    """Return a validator for an integer within bounds, both inclusive."""
    if most is None:
        return must_be(f"an integer of {least} or more", integer, ge(least))
    return must_be(f"an integer from {least} to {most}", integer, ge(least), le(most))


def number_between(least: float, most: float) -> Validator:
    """Return a validator for a number within bounds, both inclusive."""
    return must_be(f"a number from {least} to {most}", finite_number, ge(least), le(most))
