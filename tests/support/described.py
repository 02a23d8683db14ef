"""Requests and responses checked against the OpenAPI document."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

import roamify_async

DOCUMENT = json.loads((Path(roamify_async.__file__).parent / "sandbox" / "http" / "openapi.json").read_text("utf-8"))

SOMETIMES = {
    "Package": {"apnUsername", "apnPassword", "throttle"},
    "PackagePage": {"total", "totalPages", "page", "pageSize"},
    "Usage": {"dataUsages"},
    "Profile": {
        "lpaCode", "smdpAddress", "activationCode", "qrCodeUrl", "pin", "puk", "number", "iosQuickInstall",
        "androidQuickInstall",
    },
    "Traveller": {"dateOfBirth", "idNumber", "passportNumber"},
    "Refund": {"id", "refundId"},
    "RefundFailure": {"refundId"},
}  # fmt: skip
"""Fields that the sandbox leaves out in some responses."""


def strict(schema: Any, name: str = "") -> Any:
    """Return schemas whose objects require every described field, and allow no other."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    copied = {key: strict(value, key) for key, value in schema.items()}
    if "properties" in schema and schema.get("type") == "object" and "additionalProperties" not in schema:
        needed = sorted(schema["properties"].keys() - SOMETIMES.get(name, set()))
        return copied | {"additionalProperties": False, "required": needed}
    return copied


class Description:
    """An OpenAPI document that requests and responses are checked against."""

    def __init__(self, document: Mapping[str, Any] = DOCUMENT) -> None:
        """Load a document."""
        self.document = copy.deepcopy(dict(document))
        self.operations = {
            (method.upper(), path): operation
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
        }
        self._registry = Registry().with_resource("urn:api", DRAFT202012.create_resource(self.document))

    def operation(self, method: str, path: str) -> tuple[str, str]:
        """Return the operation of a request; a path without placeholders takes precedence."""
        fits = [
            (asked, template)
            for asked, template in self.operations
            if asked == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
        ]
        assert fits, f"{method} {path} is not described"
        return min(fits, key=lambda fit: fit[1].count("{"))

    def wrong_request(self, method: str, path: str, query: Mapping[str, str], body: Any) -> list[str]:
        """Return what is wrong with a request."""
        operation = self.operations[self.operation(method, path)]
        named = {p["name"]: p for p in map(self._resolved, operation.get("parameters", ())) if p["in"] == "query"}
        wrong = [f"query {name} is not described" for name in query.keys() - named.keys()]
        wrong += [f"query {name} is required" for name, p in named.items() if p.get("required") and name not in query]
        for name in query.keys() & named.keys():
            wrong += self._problems(named[name]["schema"], self._read(query[name], named[name]["schema"]))
        wrong += _wrong_peers(operation, query)
        described = operation.get("requestBody", {"required": False, "content": {}})
        if body is None:
            return wrong + ["a body is required"] * described["required"]
        if not described["content"]:
            return [*wrong, "no body is described"]
        return wrong + self._problems(described["content"]["application/json"]["schema"], body)

    def wrong_answer(self, operation: tuple[str, str], status: int, body: Any) -> list[str]:
        """Return what is wrong with a response."""
        responses = self.operations[operation]["responses"]
        if str(status) not in responses:
            return [f"{status} is not described"]
        return self._problems(self._resolved(responses[str(status)])["content"]["application/json"]["schema"], body)

    def wrong_event(self, webhook: str, body: Any) -> list[str]:
        """Return what is wrong with the body of a webhook."""
        body_schema = self.document["webhooks"][webhook]["post"]["requestBody"]
        return self._problems(body_schema["content"]["application/json"]["schema"], body)

    def success(self, operation: tuple[str, str]) -> int:
        """Return the success status."""
        return next(int(status) for status in self.operations[operation]["responses"] if status.startswith("2"))

    def _resolved(self, part: Any) -> Any:
        while "$ref" in part:
            part = self._registry.resolver("urn:api").lookup(part["$ref"]).contents
        return part

    def _read(self, text: str, schema: Any) -> Any:
        return json.loads(text) if self._resolved(schema).get("type") in {"integer", "number", "boolean"} else text

    def _problems(self, schema: Any, value: Any) -> list[str]:
        rooted = {"$id": "urn:api:part", **json.loads(json.dumps(schema).replace('"#/', '"urn:api#/'))}
        validator = Draft202012Validator(rooted, registry=self._registry, format_checker=FormatChecker())
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def _wrong_peers(operation: Mapping[str, Any], query: Mapping[str, str]) -> Iterator[str]:
    for rule, most in (("x-exactly-one-of", 1), ("x-at-least-one-of", None)):
        names = operation.get(rule, ())
        given = [name for name in names if name in query]
        if names and (not given or (most and len(given) > most)):
            yield f"{rule} {names}: {given}"


def anonymous(operation: str) -> str:
    """Return an operation without the names of its path parameters."""
    return re.sub(r"\{\w+\}", "{}", operation)
