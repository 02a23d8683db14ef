"""The pytest plugin: a sandbox, clients and webhooks as fixtures, and no call to a real host.

pytest imports this module at its start, in every project whose environment has this package. So it imports neither
aiohttp nor the client or the sandbox before a test uses them.
"""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest

from roamify_async._http import hosts

if TYPE_CHECKING:
    from roamify_async import AsyncRoamify, Roamify, Settings
    from roamify_async.sandbox import Sandbox

    from .clock import Clock
    from .inbox import WebhookInbox

_PACKAGES: Final = 300  # of a sandbox, unless a marker says otherwise
_SHOWN: Final = 20  # requests in the report of a failure
_FIXED: Final = frozenset({"allow_remote", "host", "port", "db"})
_MARKER: Final = (
    "roamify(balance='0.50', packages=200, faults=[...], ...): run the test with a sandbox that has these options of"
    " roamify_async.sandbox.Sandbox; a fault that hits no request fails the test"
)


class _Guard:
    """Refuses calls to real hosts, and remembers them, since the tested code may catch the error."""

    def __init__(self, allowed: list[str]) -> None:
        self._allowed = {host.lower() for host in allowed}
        self.refused: list[str] = []

    def check(self, base_url: str) -> None:
        """Raise ``ConfigurationError`` for a host that is neither this machine nor allowed."""
        __tracebackhide__ = True
        from roamify_async._http.credentials import is_loopback
        from roamify_async.errors import ConfigurationError

        host = urlsplit(base_url).hostname or ""
        if is_loopback(host) or host in self._allowed:
            return
        text = (
            f"a test called the real host {host}: use the fixture roamify_sandbox, roamify or async_roamify, and create"
            f" clients after it. If this is meant, add {host} to roamify_allow_hosts in pytest's configuration"
        )
        self.refused.append(text)
        raise ConfigurationError(text)


_guard_key: Final = pytest.StashKey[_Guard]()
_sandbox_key: Final = pytest.StashKey["Sandbox"]()
_requests_key: Final = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the configuration file."""
    parser.addini(
        "roamify_allow_hosts", "Real hosts that tests may call with roamify_async, one a line", "linelist", []
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and refuse calls to real hosts until the end of the run."""
    config.addinivalue_line("markers", _MARKER)
    guard, before = _Guard(config.getini("roamify_allow_hosts")), hosts.check
    config.stash[_guard_key] = guard
    hosts.check = guard.check

    def restore() -> None:
        hosts.check = before

    config.add_cleanup(restore)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Start a sandbox for a test with the marker, before its own fixtures."""
    if item.get_closest_marker("roamify") and isinstance(item, pytest.Function):
        if "roamify_sandbox" in item.fixturenames:
            item.fixturenames.remove("roamify_sandbox")
        item.fixturenames.insert(0, "roamify_sandbox")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Forget the calls of earlier tests."""
    item.config.stash[_guard_key].refused.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that passed although it called a real host, or a fault struck nothing."""
    result = yield
    problems = [*dict.fromkeys(item.config.stash[_guard_key].refused)]
    sandbox = item.stash.get(_sandbox_key, None)
    unused = sandbox.unused_faults() if sandbox else ()
    if unused:
        problems.append(f"these faults hit no request: {', '.join(unused)}")
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the last requests to the report of a failure."""
    report = yield
    if report.failed:
        sandbox = item.stash.get(_sandbox_key, None)
        text = _last_requests(sandbox) if sandbox else item.stash.get(_requests_key, "")
        if text:
            report.sections.append(("roamify_sandbox: last requests", text))
    return report


def _last_requests(sandbox: "Sandbox") -> str:
    return "\n".join(map(str, sandbox.last_requests(_SHOWN))) or "none"


def _options_of(item: pytest.Item) -> dict[str, Any]:
    """Return the options of the markers: a parameter's take precedence over a test's, and those over a class's."""
    from roamify_async.sandbox.options import OptionsKw
    from roamify_async.sandbox.validators import nearest

    options: dict[str, Any] = {"packages": _PACKAGES}
    known = [name for name in OptionsKw.__annotations__ if name not in _FIXED]
    parameters: list[pytest.Mark] = getattr(getattr(item, "callspec", None), "marks", [])
    markers = [*reversed([*item.iter_markers("roamify")]), *(mark for mark in parameters if mark.name == "roamify")]
    for marker in markers:
        if marker.args:
            raise ValueError(f"@pytest.mark.roamify takes keyword arguments such as balance='0.50', not {marker.args}")
        for name in marker.kwargs:
            if name not in known:
                raise ValueError(f"@pytest.mark.roamify has no option {name!r}{nearest(name, known)}")
        options |= marker.kwargs
    return options


@pytest.fixture(scope="session")
def _roamify_server() -> "Iterator[Sandbox]":
    from roamify_async.sandbox import Sandbox

    with Sandbox(packages=_PACKAGES) as sandbox:
        yield sandbox


@pytest.fixture
def roamify_sandbox(request: pytest.FixtureRequest, _roamify_server: "Sandbox") -> "Iterator[Sandbox]":
    """Return a sandbox of Roamify's API, as new, which clients without a token and a base URL use.

    ``@pytest.mark.roamify(...)`` sets its options. The environment variables ROAMIFY_TOKEN, ROAMIFY_BASE_URL and
    ROAMIFY_WEBHOOK_SECRET are those of the sandbox during the test, and ROAMIFY_LEDGER is not set.
    """
    item, sandbox = request.node, _roamify_server
    sandbox.reset(**_options_of(item))
    item.stash[_sandbox_key] = sandbox
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ROAMIFY_TOKEN", sandbox.token)
        environment.setenv("ROAMIFY_BASE_URL", sandbox.url)
        environment.setenv("ROAMIFY_WEBHOOK_SECRET", sandbox.webhook_secret)
        environment.delenv("ROAMIFY_LEDGER", raising=False)
        yield sandbox
    item.stash[_requests_key] = _last_requests(sandbox)
    del item.stash[_sandbox_key]
    sandbox.webhook_url = None


@pytest.fixture
def roamify_settings() -> "Settings":
    """Return the settings of the clients of tests, with short waits. Override it to use others."""
    from roamify_async import Retries, Settings

    return Settings(retries=Retries(wait=0.01, longest_wait=0.01), reconcile_window=0.5)


@pytest.fixture
def roamify(roamify_sandbox: "Sandbox", roamify_settings: "Settings") -> "Iterator[Roamify]":
    """Return a synchronous client of the sandbox."""
    from roamify_async import Roamify

    client = Roamify(roamify_sandbox.token, base_url=roamify_sandbox.url, settings=roamify_settings)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def async_roamify(roamify_sandbox: "Sandbox", roamify_settings: "Settings") -> "Iterator[AsyncRoamify]":
    """Return an asynchronous client of the sandbox, which opens at first use or with ``async with``."""
    from roamify_async import AsyncRoamify

    from .closing import Closer

    client = AsyncRoamify(roamify_sandbox.token, base_url=roamify_sandbox.url, settings=roamify_settings)
    closer = Closer(client)
    try:
        yield client
    finally:
        closer.close()


@pytest.fixture
def roamify_webhooks(roamify_sandbox: "Sandbox") -> "Iterator[WebhookInbox]":
    """Receive the webhook events of the sandbox; ``wait()`` returns them."""
    from .inbox import WebhookInbox

    with WebhookInbox(roamify_sandbox).serving() as inbox:
        roamify_sandbox.webhook_url = inbox.url
        yield inbox
        roamify_sandbox.webhook_url = None


@pytest.fixture
def roamify_clock(roamify_sandbox: "Sandbox") -> "Clock":
    """Return the clock of the sandbox, which can be advanced."""
    from .clock import Clock

    return Clock(roamify_sandbox)
