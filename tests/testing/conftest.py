"""Runs of pytest in a folder of their own, with the plugin and few others."""

from collections.abc import Callable

import pytest

INI = """
[pytest]
filterwarnings =
    error
    # anyio's plugin, and a setting of pytest-asyncio that its runs do not have
    ignore::pytest.PytestDeprecationWarning
"""
CONFTEST = """
import threading

FOREIGN = "execnet", "_run_safe_shutdown_loop"  # those of pytest-xdist, and of the resolver that aiohttp may use

def pytest_sessionfinish():
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    print("\\nthreads:", *(name for name in others if not any(foreign in name for foreign in FOREIGN)))
"""
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a module of tests, and checks that no thread of the plugin is left at the end."""
    for name in ("ROAMIFY_TOKEN", "ROAMIFY_BASE_URL", "ROAMIFY_WEBHOOK_SECRET", "PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini(INI)
    pytester.makeconftest(CONFTEST)

    def run(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_shop=source)
        result = pytester.runpytest_subprocess("-p", "roamify_async.testing.plugin", *arguments)
        assert "threads:" in [line.strip() for line in result.outlines]
        return result

    return run
