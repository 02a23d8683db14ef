"""Tracebacks of refusals and wrong arguments show the caller's line and the call, and not what is between them."""

import subprocess
import sys
import textwrap
import traceback

import pytest

from roamify_async import OrderItem, PackageNotFoundError, Roamify, RoamifyError
from roamify_async._core import tracebacks
from roamify_async.sandbox import Sandbox

WRONG = {
    "refused": lambda roamify: roamify.vouchers.get("nothing"),
    "no such package": lambda roamify: roamify.orders.create([OrderItem("esim-nowhere")]),
    "workflow": lambda roamify: roamify.esims.buy("esim-nowhere"),
    "neither key": lambda roamify: roamify.orders.get(),
    "invalid": lambda roamify: roamify.orders.list(limit=0),
    "misspelt": lambda roamify: roamify.orders.list(limt=3),
    "missing": lambda roamify: roamify.esims.usage(),
    "list": lambda roamify: roamify.packages.list(contry="Greece"),
    "unknown country": lambda roamify: roamify.packages.list(country="Grece"),
    "iteration": lambda roamify: next(roamify.packages.iter(country="Grece")),
}


def files(error: BaseException) -> list[str]:
    """Return the files of a traceback."""
    return [frame.filename.rpartition("/")[2] for frame in traceback.extract_tb(error.__traceback__)]


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_blocking(call):
    """One frame of the library is left: that of the call."""
    with (
        Sandbox(packages=300) as sandbox,
        Roamify(sandbox.token, base_url=sandbox.url) as roamify,
        pytest.raises((RoamifyError, TypeError, ValueError)) as caught,
    ):
        call(roamify)
    assert files(caught.value) == ["test_tracebacks.py", "test_tracebacks.py", "endpoint.py"]


async def test_awaited(client):
    """So it is with the other client."""
    for call in (
        client.vouchers.get("nothing"),
        client.orders.create([OrderItem("esim-nowhere")]),
        client.esims.buy("esim-nowhere"),
        client.orders.get(),
        client.packages.list(contry="Greece"),
    ):
        with pytest.raises((RoamifyError, TypeError, ValueError)) as caught:
            await call
        assert files(caught.value) == ["test_tracebacks.py", "endpoint.py"]
    with pytest.raises(ValueError, match="there are no packages") as caught:
        await anext(client.packages.iter(country="Grece"))
    assert set(files(caught.value)[1:]) == {"endpoint.py"}


async def test_code_of_the_caller(either):
    """The caller's own code that raised stays in the traceback, as does the whole of what was not raised on purpose."""

    def requests():
        yield from ()
        raise LookupError("mine too")

    with pytest.raises(LookupError) as caught:
        await either.orders.bulk(requests())
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].name == "requests"
    assert len(frames) > 4


def test_defects_keep_their_traceback():
    """An error that another library raised below this one is not shortened."""

    def deep() -> None:
        int("x")

    with pytest.raises(ValueError, match="invalid literal") as caught:
        deep()
    before = files(caught.value)
    tracebacks.trim(caught.value)
    assert files(caught.value) == before


@pytest.mark.long
def test_pytest_shows_two_frames(pytester):
    """In the report of a failed test there are the test's line and the call's."""
    pytester.makepyfile("""
        from roamify_async import OrderItem, Roamify
        from roamify_async.sandbox import Sandbox

        def test_shop():
            with Sandbox(packages=300) as sandbox, Roamify(sandbox.token, base_url=sandbox.url) as roamify:
                roamify.orders.create([OrderItem("esim-nowhere")])
    """)
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--tb=short", "-p", "no:xdist")
    shown = [line for line in done.outlines if line.startswith((" ", "/", "..", "test_")) and ": in " in line]
    assert [line.partition(":")[0].rpartition("/")[2] for line in shown] == [
        "test_pytest_shows_two_frames.py",
        "endpoint.py",
    ]


@pytest.mark.long
def test_ipython_shows_two_frames(tmp_path):
    """So it is in IPython."""
    pytest.importorskip("IPython")
    cell = textwrap.dedent("""
        from IPython.core.interactiveshell import InteractiveShell
        from roamify_async import OrderItem, Roamify
        from roamify_async.sandbox import Sandbox
        shell = InteractiveShell.instance(colors="nocolor")
        with Sandbox(packages=300) as sandbox, Roamify(sandbox.token, base_url=sandbox.url) as roamify:
            shell.user_ns |= {"roamify": roamify, "OrderItem": OrderItem}
            shell.run_cell('roamify.orders.create([OrderItem("esim-nowhere")])')
    """)
    done = subprocess.run(
        [sys.executable, "-c", cell], check=False, capture_output=True, text=True, cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "", "IPYTHONDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    frames = [line for line in done.stdout.splitlines() if line.startswith(("File ", "Cell "))]
    assert len(frames) == 2, done.stdout + done.stderr
    assert PackageNotFoundError.__name__ in done.stdout
