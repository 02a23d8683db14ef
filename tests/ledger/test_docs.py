"""The page on several processes: its code runs, and its replicas and tasks buy once."""

import asyncio
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest

from roamify_async.sandbox import Sandbox

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "replicas.md"
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
PACKAGE = "esim-greece-30days-1gb-all"
TASKS = "TRY_AGAIN ="


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Configure clients without arguments to use a sandbox and a ledger, and stand in for what may not be installed."""
    with Sandbox(packages=300, latency={"POST /api/esim/order": 0.1}) as sandbox:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("ROAMIFY_TOKEN", sandbox.token)
        monkeypatch.setenv("ROAMIFY_BASE_URL", sandbox.url)
        monkeypatch.setenv("ROAMIFY_LEDGER", "purchases.db")
        for name, members in {
            "celery": {"Celery": lambda *_, **__: SimpleNamespace(task=_decorator)},
            "arq": {"Retry": Exception},
            "taskiq": {"InMemoryBroker": lambda: SimpleNamespace(task=_decorator)},
        }.items():
            module = ModuleType(name)
            vars(module).update(members)
            monkeypatch.setitem(sys.modules, name, module)
        yield sandbox


def _decorator(**_: object) -> Any:
    return lambda function: function


def run(*texts: str) -> dict[str, Any]:
    """Run the blocks that contain these texts, in one namespace."""
    scope: dict[str, Any] = {"__name__": "replicas_page"}
    for text in texts:
        (block,) = (block for block in BLOCKS if text in block)
        exec(compile(block, PAGE.name, "exec"), scope)
    return scope


def test_blocks_run(served):
    """All blocks run."""
    first, *others = BLOCKS
    for block in (first, *others):
        scope: dict[str, Any] = {"__name__": "replicas_page"}
        for part in (next(text for text in BLOCKS if TASKS in text), block):
            exec(compile(part, PAGE.name, "exec"), scope)


async def test_web_replicas(served):
    """Two replicas that get the same request at once buy one eSIM."""
    apps = [run("FastAPI")["app"] for _ in range(2)]

    async def post(app: Any, package_id: str = PACKAGE) -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app", timeout=30) as browser:
            return await browser.post("/orders/4711/esim", params={"package_id": package_id})

    async with apps[0].router.lifespan_context(apps[0]), apps[1].router.lifespan_context(apps[1]):
        first, second = await asyncio.gather(*map(post, apps))
        other = await post(apps[0], "esim-germany-30days-1gb-all")
    assert first.json() == second.json()
    assert first.json()["iccid"]
    assert other.status_code == 409
    assert len(served.state()["orders"]) == 1


@pytest.mark.parametrize("queue", ["celery", "arq", "taskiq"])
async def test_tasks(served, queue):
    """A task that is delivered twice at once makes one order."""
    scope = run(TASKS, "from arq", f"from {queue}") if queue == "taskiq" else run(TASKS, f"from {queue}")
    if queue == "celery":
        work = [asyncio.to_thread(scope["fulfil_order"], "4711", PACKAGE) for _ in range(2)]
        first, second = await asyncio.gather(*work)
    elif queue == "arq":
        contexts: list[dict[str, Any]] = [{}, {}]
        for context in contexts:
            await scope["startup"](context)
        first, second = await asyncio.gather(*(scope["fulfil_order"](one, "4711", PACKAGE) for one in contexts))
        for context in contexts:
            await scope["shutdown"](context)
    else:
        first, second = await asyncio.gather(*(scope["fulfil_task"]("4711", PACKAGE) for _ in range(2)))
    assert first == second
    assert len(served.state()["orders"]) == 1
