"""Errors are values: the tree is what its drawing says, and each one survives pickling with all that it knows."""

import copy
import pickle
import re

import pytest

import roamify_async
from roamify_async import errors
from roamify_async.errors import (
    APIStatusError,
    BadRequestError,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    EsimsNotReadyError,
    PurchaseInDoubtError,
    RequestTimeoutError,
    RoamifyError,
    ServerError,
    error_class,
)
from roamify_async.models.orders import CreateOrder, OrderItem


def drawn_tree() -> dict[str, str]:
    """Give the parent of each class that the module's docstring draws."""
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
    """Make an error of any class."""
    if issubclass(kind, APIStatusError):
        facts.setdefault("status", 418)
    return kind("it went wrong", **facts)


def full(kind: type[RoamifyError]) -> RoamifyError:
    """Make an error of any class that knows all it can."""
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
    """Give all that an error knows, with errors in it by their class and text."""
    return {key: repr(value) for key, value in vars(error).items()}


def test_tree_is_drawn_whole():
    """The drawing names every error class of the module, and none that does not exist."""
    assert set(TREE) == {kind.__name__ for kind in CLASSES}
    assert list(TREE.values()).count("Exception") == 1


@pytest.mark.parametrize(("name", "parent"), TREE.items())
def test_parents_are_as_drawn(name, parent):
    """Each class has the parent under which it is drawn, and is a RoamifyError that the package exports."""
    kind = getattr(errors, name)
    assert kind.__bases__[0].__name__ == parent
    assert issubclass(kind, RoamifyError)
    assert getattr(roamify_async, name) is kind
    assert name in roamify_async.__all__


def test_time_out_is_a_timeout_error():
    """A time-out is caught by code that knows Python's own TimeoutError only; other broken connections are not."""
    assert issubclass(RequestTimeoutError, TimeoutError)
    assert not issubclass(ConnectionLostError, OSError)
    assert not issubclass(ConnectError, OSError)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", CLASSES)
def test_errors_can_be_pickled(kind, protocol):
    """A pickled error comes back with its class, message, attributes and notes."""
    error = full(kind)
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(back) is kind
    assert back.args == error.args == ("it went wrong",)
    assert known(back) == known(error)
    assert back.__notes__ == ["look it up"]
    assert str(back) == str(error)
    assert repr(back) == repr(error)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", CLASSES)
def test_errors_can_be_copied(kind, copied):
    """A copied error is another object that knows the same."""
    error = full(kind)
    back = copied(error)
    assert back is not error
    assert type(back) is kind
    assert known(back) == known(error)
    back.with_facts(page=10)
    assert error.page == 9


@pytest.mark.parametrize("kind", CLASSES)
def test_bare_errors_can_be_pickled(kind):
    """An error of which nothing is known but its message can be pickled too."""
    back = pickle.loads(pickle.dumps(make(kind)))
    assert (type(back), str(back)) == (kind, str(make(kind)))


def test_doubt_is_pickled_with_its_reason():
    """The reason of a doubt, the request and what was found come back as what they were, two levels deep as well."""
    inner = full(PurchaseInDoubtError)
    back = pickle.loads(pickle.dumps(PurchaseInDoubtError("outer", reason=inner)))
    assert isinstance(back.reason, PurchaseInDoubtError)
    assert isinstance(back.reason.reason, ServerError)
    assert (back.reason.reason.status, back.reason.reason.body) == (502, "bad")
    assert back.reason.request == CreateOrder([OrderItem("esim-a", 2)], reference_id="my-ref")
    assert back.reason.found == ("an order",)


def test_esims_that_are_not_ready():
    """What is not ready yet keeps the order, the eSIMs that are, and the errors of the others, pickled as well."""
    error = full(EsimsNotReadyError)
    for each in (error, pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert (each.order, each.esims) == ("an order", ("an eSIM",))
        assert type(each.failures["esim-1"]) is RequestTimeoutError
        assert each.failures["esim-1"].sent == "maybe"
    bare = EsimsNotReadyError()
    assert (bare.order, bare.esims, bare.failures) == (None, (), {})


def test_message_may_be_empty():
    """An error needs no message."""
    for error in (RoamifyError(), DecodeError(), PurchaseInDoubtError()):
        assert (str(error), error.args) == ("", ("",))
    assert str(APIStatusError(status=402)) == " [402]"
    emptied = RoamifyError("gone")
    emptied.args = ()
    assert str(emptied) == ""


def test_message_can_be_made_clearer():
    """A message that was replaced after the error was made is what shows, and what is pickled."""
    error = BadRequestError("bad", status=400)
    error.args = ("there is no such package",)
    for each in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(each).startswith("there is no such package [")
        assert each.message == "bad"


@pytest.mark.parametrize("kind", CLASSES)
def test_what_is_not_known_is_empty(kind):
    """Every error has every attribute; what is not known is None or empty."""
    error = make(kind)
    facts = (error.method, error.path, error.page, error.reference_id, error.package_ids, error.request_id)
    assert facts == (None, None, None, None, (), None)


@pytest.mark.parametrize("kind", CLASSES)
def test_sent_by_default(kind):
    """What came as an answer was answered, a doubt may have left, all else has not left."""
    answered = issubclass(kind, APIStatusError | DecodeError | EsimsNotReadyError)
    doubt = kind is PurchaseInDoubtError
    assert make(kind).sent == ("answered" if answered else "maybe" if doubt else "no")


@pytest.mark.parametrize("kind", [errors.TransportError, ConnectError, ConnectionLostError, RequestTimeoutError])
def test_last_try(kind):
    """A broken connection knows how far its own try got, whatever the tries before it came to."""
    assert kind("x").last_try == "no"
    error = kind("x", sent="maybe", method="GET", path="/p")
    assert error.with_facts(sent="answered").last_try == "maybe"
    assert (error.sent, error.method, error.path) == ("answered", "GET", "/p")


def test_own_attributes_by_default():
    """What a refusal, an unreadable answer and a doubt have besides is None or empty where it is not given."""
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


def test_refusal_needs_a_status():
    """A refusal cannot be made without the status that it is about."""
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
def test_text_says_to_which_request(facts, text):
    """The text of an error says what happened, then to which request."""
    assert str(RoamifyError("gone", **facts)) == text
    assert repr(RoamifyError("gone", **facts)) == f"RoamifyError({text!r})"


def test_text_of_a_refusal():
    """The text of a refusal says its status and code first, and how long to wait last."""
    assert str(APIStatusError("no", status=402)) == "no [402]"
    error = full(errors.ConflictError)
    assert str(error) == (
        "it went wrong [409, code TAKEN, POST /api/esim/order, page 9, reference my-ref, packages esim-a esim-b, "
        "request id ray-1, retry after 2.5 s]"
    )
    assert "retry after 0 s" in str(APIStatusError("no", status=429, retry_after=0.0))


def test_about_adds_facts():
    """Facts can be added later; the same error is given back."""
    error = ConnectError("no way", method="GET")
    assert error.with_facts(path="/api/balance", page=3) is error
    assert (error.method, error.path, error.page) == ("GET", "/api/balance", 3)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (300, "APIStatusError"),
        (302, "APIStatusError"),
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (402, "APIStatusError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (405, "APIStatusError"),
        (408, "APIStatusError"),
        (409, "ConflictError"),
        (410, "APIStatusError"),
        (418, "APIStatusError"),
        (422, "UnprocessableError"),
        (425, "APIStatusError"),
        (429, "RateLimitError"),
        (499, "APIStatusError"),
        (500, "ServerError"),
        (501, "ServerError"),
        (502, "ServerError"),
        (503, "ServerError"),
        (520, "ServerError"),
        (599, "ServerError"),
    ],
)
def test_class_of_a_status(status, name):
    """Each status has its class; those without one of their own are plain refusals, or a server's failure from 500."""
    assert error_class(status).__name__ == name


def test_classes_of_statuses_cannot_be_changed():
    """The table of statuses is read-only."""
    with pytest.raises(TypeError):
        errors.ERRORS[400] = ServerError


@pytest.mark.parametrize(
    ("kind", "hint"),
    [(errors.AuthenticationError, "check the token"), (errors.PermissionDeniedError, "enabled for your key")],
)
def test_hints(kind, hint):
    """A refused token or right says what to do about it, after the server's own words, which are kept alone too."""
    error = kind("no", status=401)
    assert str(error).startswith("no [401]: ")
    assert hint in str(error)
    assert error.message == "no"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    "kind", [each for each in CLASSES if each not in (errors.AuthenticationError, errors.PermissionDeniedError)]
)
def test_no_hints(kind):
    """All other errors say what happened and no more."""
    assert str(full(kind)).endswith("]")
