"""Errors are values: their tree is the documented one, and each survives pickling with all its facts."""

import copy
import json
import pickle
import re

import pytest

import roamify_async
from roamify_async import errors
from roamify_async.errors import (
    IDENTITY,
    APIStatusError,
    BadRequestError,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    EsimsNotReadyError,
    PackageNotFoundError,
    PurchaseFailedError,
    PurchaseInDoubtError,
    RequestTimeoutError,
    RoamifyError,
    ServerError,
    error_class,
)
from roamify_async.models.orders import CreateOrder, OrderItem


def drawn_tree() -> dict[str, str]:
    """Return the parent of each class in the tree of the module's docstring."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([│ ├└─]*)(\w+Error)\b", line)
        if match:
            depth = len(match.group(1)) // 4
            above[depth:] = [match.group(2)]
            parents[match.group(2)] = above[depth - 1] if depth else "Exception"
    return parents


TREE = drawn_tree()
CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, RoamifyError)]


def make(kind: type[RoamifyError], **facts: object) -> RoamifyError:
    """Create an error of any class."""
    if issubclass(kind, APIStatusError):
        facts.setdefault("status", 418)
    return kind("it went wrong", **facts)


def full(kind: type[RoamifyError]) -> RoamifyError:
    """Create an error of any class with all facts set."""
    facts: dict[str, object] = {
        "sent": "maybe",
        "method": "POST",
        "path": "/api/esim/order",
        "page": 9,
        "reference_id": "my-ref",
        "package_ids": ("esim-a", "esim-b"),
        "request_id": "ray-1",
    }
    if issubclass(kind, APIStatusError):
        facts |= {"status": 409, "code": "TAKEN", "body": "{}", "retry_after": 2.5}
    if kind is DecodeError:
        facts |= {"body": "<html>", "problems": ("$.data.id: missing",), "ids": ("one", "two"), "garbled": True}
    if kind is PurchaseInDoubtError:
        request = CreateOrder([OrderItem("esim-a", 2)], reference_id="my-ref")
        facts |= {"request": request, "reason": ServerError("oops", status=502, body="bad"), "found": ("an order",)}
    if kind is EsimsNotReadyError:
        failures = {"esim-1": RequestTimeoutError("late", sent="maybe", path="/api/esim/apply")}
        facts |= {"order": "an order", "esims": ("an eSIM",), "failures": failures}
    error = make(kind, **facts)
    error.add_note("look it up")
    return error


def known(error: RoamifyError) -> dict[str, object]:
    """Return the attributes of an error, with inner errors as text."""
    return {key: repr(value) for key, value in vars(error).items()}


def test_tree_is_complete():
    """The tree names every error class of the module, and no other."""
    assert set(TREE) == {kind.__name__ for kind in CLASSES}
    assert list(TREE.values()).count("Exception") == 1


def test_parents_are_as_drawn():
    """Each class has the parent that the tree shows, and is exported by the package."""
    for name, parent in TREE.items():
        kind = getattr(errors, name)
        assert kind.__bases__[0].__name__ == parent, name
        assert issubclass(kind, RoamifyError), name
        assert getattr(roamify_async, name) is kind, name
        assert name in roamify_async.__all__, name


def test_timeout_is_a_timeout_error():
    """A timeout is also a ``TimeoutError``; other transport errors are no ``OSError``."""
    assert issubclass(RequestTimeoutError, TimeoutError)
    assert not issubclass(ConnectionLostError, OSError)
    assert not issubclass(ConnectError, OSError)


@pytest.mark.parametrize("kind", CLASSES)
def test_pickle(kind):
    """A pickled error comes back with its class, message, attributes and notes, whatever it knows."""
    error = full(kind)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error, protocol))
        assert type(back) is kind
        assert back.args == error.args
        assert back.args[0] == "it went wrong"
        assert known(back) == known(error)
        assert back.__notes__ == ["look it up"]
        assert (str(back), repr(back)) == (str(error), repr(error))
    bare = pickle.loads(pickle.dumps(make(kind)))
    assert (type(bare), str(bare)) == (kind, str(make(kind)))


@pytest.mark.parametrize("kind", CLASSES)
def test_copy(kind):
    """A copy of an error is another object with the same attributes."""
    error = full(kind)
    for copied in (copy.copy(error), copy.deepcopy(error)):
        assert copied is not error
        assert type(copied) is kind
        assert known(copied) == known(error)
        copied.with_facts(page=10)
        assert error.page == 9


@pytest.mark.parametrize("kind", CLASSES)
def test_args(kind):
    """The class and the ``args`` suffice to identify a request and a purchase, also after a way through JSON."""
    error = full(kind)
    for args in (error.args, json.loads(json.dumps(error.args))):
        back = type(error)(*args)
        assert (str(back), repr(back)) == (str(error), repr(error))
        assert {name: vars(back)[name] for name in IDENTITY if name in vars(error)} == {
            name: value for name, value in vars(error).items() if name in IDENTITY
        }
        assert back.reference_id == "my-ref"
        assert back.package_ids == ("esim-a", "esim-b")
        assert back.args == error.args


def test_args_follow_the_attributes():
    """Facts that are learnt later are in ``args``, and those that are unknown are not."""
    error = RoamifyError("gone")
    assert error.args == ("gone", {"sent": "no"})
    error.with_facts(reference_id="my-ref", sent="maybe")
    assert error.args == ("gone", {"sent": "maybe", "reference_id": "my-ref"})
    assert type(error)(*error.args, path="/p").path == "/p"


def test_pickle_of_a_doubt():
    """The reason, the request and the orders of a doubt survive pickling, at any depth."""
    inner = full(PurchaseInDoubtError)
    back = pickle.loads(pickle.dumps(PurchaseInDoubtError("outer", reason=inner)))
    assert isinstance(back.reason, PurchaseInDoubtError)
    assert isinstance(back.reason.reason, ServerError)
    assert (back.reason.reason.status, back.reason.reason.body) == (502, "bad")
    assert back.reason.request == CreateOrder([OrderItem("esim-a", 2)], reference_id="my-ref")
    assert back.reason.found == ("an order",)


def test_esims_that_are_not_ready():
    """``EsimsNotReadyError`` keeps the order, the ready eSIMs and the errors of the others, also when pickled."""
    error = full(EsimsNotReadyError)
    for each in (error, pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert (each.order, each.esims) == ("an order", ("an eSIM",))
        assert type(each.failures["esim-1"]) is RequestTimeoutError
        assert each.failures["esim-1"].sent == "maybe"
    bare = EsimsNotReadyError()
    assert (bare.order, bare.esims, bare.failures) == (None, (), {})


def test_empty_message():
    """An error needs no message."""
    for error in (RoamifyError(), DecodeError(), PurchaseInDoubtError()):
        assert (str(error), error.args) == ("", ("", {"sent": error.sent}))
    assert str(APIStatusError(status=402)) == " [402]"
    emptied = RoamifyError("gone")
    emptied.args = ()
    assert str(emptied) == ""


def test_replaced_message():
    """A message that was replaced later is shown and pickled; the server's own message is kept."""
    error = BadRequestError("bad", status=400)
    error.args = ("there is no such package",)
    for each in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(each).startswith("there is no such package [")
        assert each.message == "bad"


def test_unknown_facts():
    """Every error has every attribute; facts that are not known are ``None`` or empty."""
    for kind in CLASSES:
        error = make(kind)
        facts = (error.method, error.path, error.page, error.reference_id, error.package_ids, error.request_id)
        assert facts == (None, None, None, None, (), None), kind


def test_sent_by_default():
    """A response was ``"answered"``, a doubt ``"maybe"`` left, and everything else did not leave."""
    for kind in CLASSES:
        answered = issubclass(kind, APIStatusError | DecodeError | EsimsNotReadyError | PurchaseFailedError)
        answered = answered and kind is not PackageNotFoundError
        doubt = kind is PurchaseInDoubtError
        assert make(kind).sent == ("answered" if answered else "maybe" if doubt else "no"), kind


@pytest.mark.parametrize("kind", [errors.TransportError, ConnectError, ConnectionLostError, RequestTimeoutError])
def test_last_try(kind):
    """A transport error keeps how far the last attempt got, whatever earlier attempts reached."""
    assert kind("x").last_try == "no"
    error = kind("x", sent="maybe", method="GET", path="/p")
    assert error.with_facts(sent="answered").last_try == "maybe"
    assert (error.sent, error.method, error.path) == ("answered", "GET", "/p")


def test_default_attributes():
    """The attributes of status errors, decode errors and doubts are ``None`` or empty by default."""
    refusal = APIStatusError("no", status=402)
    assert (refusal.status, refusal.message, refusal.code, refusal.body, refusal.retry_after) == (
        402,
        "no",
        None,
        "",
        None,
    )
    unreadable = DecodeError()
    assert (unreadable.body, unreadable.problems, unreadable.ids, unreadable.garbled) == ("", (), (), False)
    doubt = PurchaseInDoubtError()
    assert (doubt.request, doubt.reason, doubt.found) == (None, None, ())


def test_status_is_required():
    """``APIStatusError`` requires a status."""
    with pytest.raises(TypeError, match="status"):
        APIStatusError("no")


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({}, "gone"),
        ({"method": "GET"}, "gone"),
        ({"path": "/api/balance"}, "gone"),
        ({"method": "GET", "path": "/api/balance"}, "gone [GET /api/balance]"),
        ({"page": 9}, "gone [page 9]"),
        ({"page": 0}, "gone [page 0]"),
        ({"reference_id": "my-ref"}, "gone [reference my-ref]"),
        ({"package_ids": ("a", "b")}, "gone [packages a b]"),
        ({"request_id": "ray-1"}, "gone [request id ray-1]"),
        (
            {
                "request_id": "ray-1",
                "package_ids": ("a",),
                "reference_id": "r",
                "page": 2,
                "path": "/p",
                "method": "GET",
            },
            "gone [GET /p, page 2, reference r, packages a, request id ray-1]",
        ),
    ],
)
def test_text_names_the_request(facts, text):
    """The text of an error has the message, then the request."""
    assert str(RoamifyError("gone", **facts)) == text
    assert repr(RoamifyError("gone", **facts)) == f"RoamifyError({text!r})"


def test_text_of_a_status_error():
    """The text of a status error has the status and code first, and the time to wait last."""
    assert str(APIStatusError("no", status=402)) == "no [402]"
    error = full(errors.ConflictError)
    assert str(error) == (
        "it went wrong [409, code TAKEN, POST /api/esim/order, page 9, reference my-ref, packages esim-a esim-b, "
        "request id ray-1, retry after 2.5 s]"
    )
    assert "retry after 0 s" in str(APIStatusError("no", status=429, retry_after=0.0))


def test_with_facts():
    """``with_facts`` sets attributes and returns the same error."""
    error = ConnectError("no way", method="GET")
    assert error.with_facts(path="/api/balance", page=3) is error
    assert (error.method, error.path, error.page) == ("GET", "/api/balance", 3)


STATUSES = {
    400: "BadRequestError", 401: "AuthenticationError", 403: "PermissionDeniedError", 404: "NotFoundError",
    409: "ConflictError", 422: "UnprocessableError", 429: "RateLimitError",
}  # fmt: skip


def test_class_of_a_status():
    """Statuses without a class of their own are an ``APIStatusError``, or a ``ServerError`` from 500."""
    for status in range(300, 600):
        name = STATUSES.get(status, "ServerError" if status >= 500 else "APIStatusError")
        assert error_class(status).__name__ == name, status


def test_table_of_statuses_is_read_only():
    """The table of statuses is read-only."""
    with pytest.raises(TypeError):
        errors.ERRORS[400] = ServerError


@pytest.mark.parametrize(
    ("kind", "hint"),
    [(errors.AuthenticationError, "check the token"), (errors.PermissionDeniedError, "enabled for your key")],
)
def test_hints(kind, hint):
    """An authentication or permission error adds advice to its text, and keeps the server's message as it is."""
    error = kind("no", status=401)
    assert str(error).startswith("no [401]: ")
    assert hint in str(error)
    assert error.message == "no"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_no_hints():
    """Other errors contain no advice."""
    for kind in CLASSES:
        if kind not in (errors.AuthenticationError, errors.PermissionDeniedError):
            assert str(full(kind)).endswith("]"), kind
