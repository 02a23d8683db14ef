"""Spoil every documented answer in every way: what comes of it is a value or a ``RoamifyError``, at once.

    python -m tests.fuzz.hostile --cases 100000 --seed 1

A case is made from the seed and its number alone. The first one that breaks the promise is printed with the way to run
it again, and ends the run with exit code 1.
"""

import argparse
import faulthandler
import json
import pickle
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs

from roamify_async import AsyncRoamify, RoamifyError
from roamify_async._core.endpoint import Endpoint, Resource, endpoints
from roamify_async._core.retry import is_success
from roamify_async._http.messages import HttpResponse
from roamify_async._serde.envelope import status_error
from tests.support.endpoints import decoded

SAMPLES: Final = Path(__file__).parents[1] / "samples"
ROWS: Final[Mapping[str, Endpoint[..., Any]]] = {
    f"{room}.{call}": row
    for room, resource in vars(AsyncRoamify("token")).items()
    if isinstance(resource, Resource)
    for call, row in endpoints(type(resource)).items()
}
ANSWERS: Final = {name: json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))["answer"] for name in ROWS}

LONGEST: Final = 1.0
"""Seconds of computing that one case may take, with everything that is done with its outcome."""
HANGING: Final = 120
"""Seconds after which a batch of cases is given up, with the place in the code where it hangs."""
BATCH: Final = 1000


@attrs.frozen
class Case:
    """One hostile answer to a row of the API."""

    row: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    how: tuple[str, ...] = ()
    """What was done to the documented answer."""

    def __str__(self) -> str:
        """Show it, without most of a long body."""
        ways, body, size = " + ".join(self.how) or "as documented", self.body[:2000], len(self.body)
        return f"{self.row}, {ways}\n  {self.status} {dict(self.headers)}\n  {size} bytes: {body!r}"[:6000]


class Violation(Exception):  # noqa: N818 -- it is no error of a program
    """A case that gave something else than a value or a ``RoamifyError``, or not at once."""


# ---------------------------------------------------------------- what is done to a body before it is text


class Raw(str):
    """A piece of JSON text, right or wrong, that stands in a tree as it is."""

    __slots__ = ()


def written(value: object) -> str:
    """Write a tree as JSON, with the raw pieces as they are."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


NUMBERS: Final = tuple(
    Raw(text)
    for text in (
        "0", "-0", "-0.0", "0e0", "-1", "1", "1.5", "007", "+1", ".5", "1.", "0x10", "1_000", "1E+2", "1e11", "1e12",
        "1e400", "-1e400", "1e-400", "1e999999999", "-1e999999999", "1e-999999999", "1e99999999999999999999",
        "1e-99999999999999999999", "NaN", "-NaN", "Infinity", "-Infinity", "9007199254740991", "9007199254740993",
        "18446744073709551616", "-9223372036854775809", "253402300800", "-62135596801", "99999999999.9999999999",
        "9" * 4300, "9" * 5000, "-" + "9" * 4299, "0." + "9" * 50_000, "1e" + "9" * 5000,
    )
)  # fmt: skip
TEXTS: Final = (
    "", " ", "0", "-1", "NaN", "Infinity", "1e5", "١٢٣", "9007199254740991", "1" * 41, "\u0000", "\ud800",
    "\udfff\ud800", "\u202e", "\ufeff", "😀" * 50, "x" * 100_000, "null", "true", "{}", "$.data", "a\nb\u2028c\x85d",
    "%s {0} $HOME", "<script>", "2024-02-30", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2024-W01-1",
    "20240101", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00\ud800", "__class__", "READY\ud800", "\r\n",
)  # fmt: skip
VALUES: Final = (
    "null", "true", "false", "0", "-1", "18446744073709551616", "[]", "{}", "[[]]", "[{}]", '{"": {}}', "[null]",
    '{"data": null}', '{".": 1}', '""',
)  # fmt: skip
KEYS: Final = ("", ".", "data", "status", "id", "__class__", "self", "\ud800", "constructor", "items", "message")


def deep(dice: Random) -> Raw:
    """Return something that is nested deep, or deeper than any stack."""
    depth = dice.choice((10, 100, *(dice.randrange(200, 1100) for _ in range(3)), 5_000, 100_000))
    opening, closing = dice.choice((("[", "]"), ('{"a":', "}"), ('{"data":', "}"), ("[[],{},", "]"), ('[{"id":', "}]")))
    return Raw(opening * depth + dice.choice(("1", "[]", "null")) + closing * dice.choice((depth, depth, 0)))


def odd(dice: Random) -> object:
    """Return a value that nobody expects."""
    kind = dice.randrange(20)
    if kind == 0:
        return deep(dice)
    if kind == 1:
        return Raw(dice.choice(VALUES) + dice.choice((",", "]", "}", "\x00", '"', "\\")))
    if kind == 2:
        return Raw('"\\' + dice.choice(("ud800", "udc00\\ud800", "u00", "x41", "u0000", "/", "ud83d\\ude00")) + '"')
    if kind % 3:
        return dice.choice((NUMBERS, TEXTS)[kind % 3 - 1])
    return json.loads(dice.choice(VALUES))


def places(tree: Any) -> list[tuple[Any, Any]]:
    """List all places in a tree, each as its container and its key there."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        for key in node if isinstance(node, dict) else range(len(node)):
            found.append((node, key))
            if isinstance(node[key], dict | list):
                waiting.append(node[key])
    return found


Tree = dict[str, Any] | list[Any]


def place(dice: Random, tree: Tree) -> tuple[Any, Any]:
    """Choose a place."""
    return dice.choice(places(tree) or [({"": None}, "")])


def drop(dice: Random, tree: Tree) -> Tree:
    """Leave a key or an item out."""
    node, key = place(dice, tree)
    del node[key]
    return tree


def null(dice: Random, tree: Tree) -> Tree:
    """Make something null."""
    node, key = place(dice, tree)
    node[key] = None
    return tree


def replace(dice: Random, tree: Tree) -> Tree:
    """Put an odd value somewhere."""
    node, key = place(dice, tree)
    node[key] = odd(dice)
    return tree


def replace_many(dice: Random, tree: Tree) -> Tree:
    """Put odd values in every second place."""
    for node, key in places(tree):
        if dice.random() < 0.5:
            node[key] = odd(dice)
    return tree


def swap(dice: Random, tree: Tree) -> Tree:
    """Exchange two sub-trees. If one contains the other, that is written out before."""
    (here, one), (there, other) = place(dice, tree), place(dice, tree)
    here[one], there[other] = Raw(written(there[other])), Raw(written(here[one]))
    return tree


def graft(dice: Random, tree: Tree) -> Tree:
    """Put a part of another row's answer somewhere."""
    other, name = place(dice, json.loads(json.dumps(ANSWERS[dice.choice([*ANSWERS])])))
    node, key = place(dice, tree)
    node[key] = other[name]
    return tree


def repeat_key(dice: Random, tree: Tree) -> Tree:
    """Write a key of an object a second time, with something else."""
    node, key = place(dice, tree)
    inner = node[key]
    if isinstance(inner, dict) and inner:
        again = f"{json.dumps(dice.choice([*inner]))}:{written(odd(dice))}"
        node[key] = Raw(f"{written(inner)[:-1]},{again}}}")
    return tree


def rename(dice: Random, tree: Tree) -> Tree:
    """Write a key in another way."""
    node, key = place(dice, tree)
    if isinstance(node, dict):
        node[dice.choice((key.upper(), key.lower(), key + " ", "_" + key, *KEYS))] = node.pop(key)
    return tree


def add(dice: Random, tree: Tree) -> Tree:
    """Put something odd where nothing was."""
    node, _ = place(dice, tree)
    if isinstance(node, dict):
        node[dice.choice(KEYS)] = odd(dice)
    else:
        node.insert(dice.randrange(len(node) + 1), odd(dice))
    return tree


def empty(dice: Random, tree: Tree) -> Tree:
    """Empty something."""
    node, key = place(dice, tree)
    node[key] = dice.choice(([], {}, "", None))
    return tree


def multiply(dice: Random, tree: Tree) -> Tree:
    """Fill a list with very many items, which may be wrong."""
    node, key = place(dice, tree)
    inner = node[key] if isinstance(node[key], list) and node[key] else [odd(dice)]
    text = written(dice.choice(inner))
    node[key] = Raw(
        "[" + ",".join([text] * min(dice.choice((50, 50, 50, 1_000, 10_000)), 500_000 // (len(text) + 1))) + "]"
    )
    return tree


def envelope(dice: Random, tree: Tree) -> Tree:
    """Put the answer into an envelope of another kind."""
    inner = tree.get("data", tree) if isinstance(tree, dict) else tree
    return dice.choice(
        (
            {"status": "failed", "message": odd(dice)},
            {"status": "failed", "data": inner},
            {"status": odd(dice), "data": inner},
            {"status": "success"},
            {"status": "success", "data": odd(dice)},
            {"status": "success", "data": [inner]},
            {"status": "success", "data": {"data": inner}},
            {"status": "success", "data": written(inner)},
            {"data": None},
            {"status": "success", "data": {}},
            {"message": odd(dice), "error": odd(dice), "code": odd(dice), "details": odd(dice)},
            {"error": {"message": odd(dice)}, "details": {"message": odd(dice)}, "data": {"message": odd(dice)}},
            {"Data": inner},
            [tree],
            [inner],
            inner if isinstance(inner, dict | list) else [inner],
        )
    )


TREE: Final[tuple[Callable[[Random, Tree], Tree], ...]] = (
    drop, drop, null, null, replace, replace, replace, replace_many, swap, swap, graft, repeat_key, rename, add, empty,
    multiply, envelope, envelope,
)  # fmt: skip


# ---------------------------------------------------------------- what is done to its bytes


def truncate(dice: Random, body: bytes) -> bytes:
    """Cut it off."""
    return body[: dice.randrange(len(body) + 1)]


def flip(dice: Random, body: bytes) -> bytes:
    """Flip a few bits."""
    changed = bytearray(body or b"\x00")
    for _ in range(dice.choice((1, 1, 2, 5, 50))):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


BREAKING: Final = (
    b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x00", b"\xef\xbb\xbf", b'"', b"{", b"]", b",",
    b"\\",
)  # fmt: skip


def insert(dice: Random, body: bytes) -> bytes:
    """Put bytes in that break the text or the JSON."""
    at = dice.randrange(len(body) + 1)
    piece = dice.choice((*BREAKING, dice.randbytes(dice.randrange(1, 20))))
    return body[:at] + piece + body[at:]


def cut_out(dice: Random, body: bytes) -> bytes:
    """Leave a piece out of its middle."""
    at = dice.randrange(len(body) + 1)
    return body[:at] + body[at + dice.choice((1, 2, 10, 100)) :]


def recode(dice: Random, body: bytes) -> bytes:
    """Write it in another encoding, or mark it as one that it is not."""
    text = body.decode("utf-8", "replace")
    if dice.randrange(3) == 0:
        return dice.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\x00\x00", b"+/v8-")) + body
    coding = dice.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-7", "latin-1"))
    return text.encode(coding, "replace")


def wrap(dice: Random, body: bytes) -> bytes:
    """Put something around it: a callback, a page, white space, itself."""
    before, after = dice.choice(
        (
            (b"callback(", b");"), (b")]}',\n", b""), (b"<title>", b"</title>"), (b"\t\n" * 50_000, b""), (body, b""),
            (b"", b" " * 200_000), (b"", b"\x00"), (b"[", b"]"), (b'"', b'"'), (b"// ", b""), (b"", b"\n{}"),
        )
    )  # fmt: skip
    return before + body + after


PIECES: Final = (
    b"<title", b"<title>", b"<", b'"iccid":', b'"iccid": "', b'"referenceId": "', b"0b9f2c66-", b"{", b"[", b'{"data":',
    b"[{},", b"\\u", b'"', b" ", b"\n", b"9", b"-", b"1e", b"\xff", b"\xed\xa0\x80", b"\x00", b"[1,", b'{"a":1,',
    b"0b9f2c66-52a5-4b1e-9d5c-0a41b7d3f001", b"\xe2\x80\xa8", b"\\ud800",
)  # fmt: skip


def something_else(dice: Random, _: bytes) -> bytes:
    """Return bytes that have nothing to do with the answer."""
    kind = dice.randrange(4)
    if kind == 0:
        return dice.randbytes(dice.choice((0, 1, 3, 50, 1000)))
    if kind == 1:
        return b"".join(dice.choice(PIECES) for _ in range(dice.choice((10, 100, 1000))))
    if kind == 2:
        return dice.choice(PIECES) * dice.choice((1, 10, 1000, 100_000))
    return dice.choice((b"", b" ", b"null", b"true", b'""', b"[]", b"{}", b"0", b"-", b"OK", b"NaN", b"\xff\xfe"))


BYTES: Final[tuple[Callable[[Random, bytes], bytes], ...]] = (
    truncate, truncate, flip, flip, insert, insert, cut_out, recode, wrap, something_else,
)  # fmt: skip

STATUSES: Final = (
    100, 199, 201, 202, 204, 206, 226, 300, 301, 302, 304, 400, 400, 401, 402, 403, 404, 405, 408, 409, 409, 413, 418,
    422, 425, 429, 429, 451, 499, 500, 500, 502, 503, 503, 504, 520, 599, 600, 999, 0, -1,
)  # fmt: skip
WAITS: Final = (
    "0", "-1", "7", "1.5", "1e3", "999999999", "9" * 400, "9" * 5000, "NaN", "inf", "", " ", "soon", "0x10", "٣", "1,2",
    "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2099 07:28:00 -2359", "Mon, 01 Jan 0001 00:00:00 +2359", "Jan", ",,,",
    "Fri, 31 Dec 9999 23:59:59 -2359", "Wed, 21 Oct 99999 07:28:00 GMT", "1 Jan 99 99:99:99", ":::", "31 Feb 2024",
    "Wed, 21 Oct 2015 07:28:00 +99999999", "Mon, 1 Jan 2024 1:2:3:4 GMT", "\x00", "1 1 1 1 1 1", "1 Jan 1 - -",
    "a" * 8000, "\udcff",
)  # fmt: skip
NAMES: Final = ("r-1", "", " ", "\udcff\udc80", "x" * 8000, "\x7f", "a\tb", "%s {0}", "é", "\u2028")


def headers_of(dice: Random) -> dict[str, str]:
    """Return the headers of an answer, which may be as odd as its body."""
    chosen = {
        "retry-after": dice.choice(WAITS) if dice.random() < 0.7 else dice.choice(WAITS)[::-1],
        "x-request-id": dice.choice(NAMES),
        "cf-ray": dice.choice(NAMES),
        "content-type": dice.choice(("application/json", "text/html; charset=utf-16", "x", "")),
    }
    return {name: value for name, value in chosen.items() if dice.random() < 0.5}


def made(seed: int, number: int) -> Case:
    """Make a case from the seed and its number; always the same."""
    dice = Random(f"{seed}:{number}")
    row = dice.choice([*ROWS])
    tree: Tree = json.loads(json.dumps(ANSWERS[row]))
    how: list[str] = []
    for change in dice.choices(TREE, k=dice.choice((0, 1, 1, 1, 2, 3, 5))):
        tree = change(dice, tree)
        how.append(change.__name__)
    body = written(tree).encode("utf-8", "surrogatepass")
    for spoil in dice.choices(BYTES, k=dice.choice((0, 0, 0, 1, 1, 2) if how else (1, 1, 2))):
        body = spoil(dice, body)
        how.append(spoil.__name__)
    status = 200 if dice.random() < 0.7 else dice.choice(STATUSES)
    return Case(row, status, headers_of(dice), body, tuple(how))


# ---------------------------------------------------------------- what must come of it


def outcome(case: Case) -> object:
    """Return what the client makes of a case: the answer's value, or the error that a call would raise."""
    response = HttpResponse(case.status, case.headers, case.body)
    if not is_success(case.status):
        return status_error(response)
    try:
        return decoded(ROWS[case.row], response)
    except RoamifyError as error:
        return error


def use(value: object) -> None:
    """Do with an outcome what programs do: show it, log it, compare it, send it to another process."""
    shown = repr(value)
    copy = pickle.loads(pickle.dumps(value))
    if type(copy) is not type(value) or repr(copy) != shown:
        raise Violation(f"its pickled copy is another: {repr(copy)[:200]}")
    if isinstance(value, RoamifyError):
        str(value).encode()  # as a log file takes it
        if str(copy) != str(value) or vars(copy) != vars(value):
            raise Violation("the pickled copy of the error is another")
    elif copy != value:
        raise Violation("its pickled copy is not equal")
    else:
        str(value)
        for part in value if isinstance(value, tuple) else [value]:
            derived = [name for name, what in vars(type(part)).items() if isinstance(what, property)]
            for name in derived:
                getattr(part, name)


def judged(case: Case) -> str:
    """Return the class of what comes of a case; raises ``Violation`` where that is not as promised."""
    began = time.thread_time()
    try:
        result = outcome(case)
    except Exception as error:
        raise Violation(f"{type(error).__name__} came out: {error}"[:500]) from error
    try:
        use(result)
    except Violation:
        raise
    except Exception as error:
        name = type(result).__name__
        raise Violation(f"{name} cannot be used: {type(error).__name__}: {error}"[:500]) from error
    took = time.thread_time() - began
    if took > LONGEST:
        raise Violation(f"it took {took:.1f} s")
    return type(result).__name__ if isinstance(result, RoamifyError) else "a value"


# ---------------------------------------------------------------- the long run


def run(seed: int, numbers: range) -> Iterator[tuple[int, Case, str, float]]:
    """Judge cases one after the other; return each with its outcome's class and its seconds."""
    for number in numbers:
        case = made(seed, number)
        began = time.perf_counter()
        yield number, case, judged(case), time.perf_counter() - began


def main(arguments: list[str] | None = None) -> int:
    """Run so many cases and tell of them; 1 where one breaks the promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.hostile", description="Spoil every documented answer.")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    asked = parser.parse_args(arguments)
    outcomes: Counter[str] = Counter()
    slowest, its_number, number = 0.0, asked.first, asked.first - 1
    began, last = time.perf_counter(), asked.first + asked.cases
    try:
        for number, _, came, took in run(asked.seed, range(asked.first, last)):
            outcomes[came] += 1
            slowest, its_number = max((slowest, its_number), (took, number))
            if (number - asked.first) % BATCH == 0:
                # A hang inside C code ends this way as well, and shows where it is.
                faulthandler.dump_traceback_later(HANGING, exit=True, file=sys.__stderr__)
                print(f"from {number} on ...", file=sys.stderr)
    except Violation as violation:
        number += 1
        print(f"case {number} breaks the promise: {violation}\n  {made(asked.seed, number)}")
        print(f"again: python -m tests.fuzz.hostile --seed {asked.seed} --first {number} --cases 1")
        return 1
    finally:
        faulthandler.cancel_dump_traceback_later()
    print(f"{asked.cases} cases in {time.perf_counter() - began:.1f} s, seed {asked.seed}")
    for came, times in outcomes.most_common():
        print(f"{times:8} {came}")
    print(f"slowest: {slowest * 1000:.0f} ms, case {its_number}: {made(asked.seed, its_number).how}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
