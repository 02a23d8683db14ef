"""Spans and metrics of OpenTelemetry."""

import asyncio
import gc
import subprocess
import sys

import anyio
import pytest

from roamify_async import CreateOrder, OrderItem, PurchaseInDoubtError, Roamify, RoamifyError
from roamify_async._core import telemetry

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

PLAIN = "esim-greece-30days-1gb-all"
ORDER = "/api/esim/order"


class Seen:
    """What was exported."""

    def __init__(self) -> None:
        """Create providers of this test's own."""
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)

    def spans(self, prefix: str = ""):
        """Return the spans that have ended, whose names begin so."""
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith(prefix)]

    def under(self, parent):
        """Return the spans below another one, as their names."""
        return [span.name for span in self.spans() if span.parent and span.parent.span_id == parent.context.span_id]

    def metrics(self):
        """Return all points of the metrics by name."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}

    def text(self) -> str:
        """Return all that was exported."""
        points = [point for points in self.metrics().values() for point in points]
        return "".join([*(span.to_json() for span in self.spans()), *(point.to_json() for point in points)])


@pytest.fixture
def seen(monkeypatch):
    """Collect spans and metrics."""
    seen = Seen()
    telemetry._load.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr("opentelemetry.trace.get_tracer", seen.provider.get_tracer)
        patch.setattr("opentelemetry.metrics.get_meter", seen.meters.get_meter)
        telemetry._load()
    yield seen
    telemetry._load.cache_clear()
    seen.provider.shutdown()
    seen.meters.shutdown()


class Broken(SimpleSpanProcessor):
    """A processor with a defect."""

    def __init__(self, at: str) -> None:
        """Break at the start or the end of each span."""
        super().__init__(InMemorySpanExporter())
        self._at = at

    def on_start(self, span: object, parent_context: object = None) -> None:
        """Break."""
        if self._at == "start":
            raise RuntimeError("no exporter")

    def on_end(self, _: object) -> None:
        """Break."""
        if self._at == "end":
            raise RuntimeError("no exporter")


@pytest.mark.parametrize("at", ["start", "end"])
async def test_processor_that_raises(seen, sandbox, client, caplog, at):
    """What a processor raises is logged, and a purchase that was made is returned."""
    seen.provider.add_span_processor(Broken(at))
    order = await client.orders.create([OrderItem(PLAIN)], reference_id="r")
    assert [order.id] == [one["id"] for one in sandbox.state()["orders"]]
    with pytest.raises(RoamifyError):
        await client.orders.get(reference_id="nobody's")
    assert "OpenTelemetry failed; the call goes on" in caplog.text


def facts(span):
    """Return the facts of a call."""
    names = ("reference_id", "tries", "sent", "outcome")
    return tuple(span.attributes.get(f"roamify.{name}") for name in names)


async def test_purchase(either, sandbox, seen):
    """A call is one span over its look-ups, its check of the package and its request; each request is a span below."""
    await either.orders.create([OrderItem(PLAIN)], reference_id="r")
    (call,) = seen.spans("roamify.")
    assert (call.name, facts(call)) == ("roamify.orders.create", ("r", 1, "answered", "ok"))
    assert sorted(seen.under(call)) == ["GET /api/esim/orders", "GET /api/esim/packages", f"POST {ORDER}"]
    (post,) = seen.spans("POST")
    assert post.kind is trace.SpanKind.CLIENT
    assert (post.attributes["http.request.method"], post.attributes["url.template"]) == ("POST", ORDER)
    assert (post.attributes["server.address"], post.attributes["http.response.status_code"]) == ("127.0.0.1", 200)
    await either.orders.create([OrderItem(PLAIN)], reference_id="r")
    (*_, again) = seen.spans("roamify.")
    assert facts(again)[2:] == ("answered", "found")


async def test_under_the_span_of_the_caller(either, seen):
    """The span of a call is below the caller's, with both clients."""
    with seen.provider.get_tracer("shop").start_as_current_span("checkout") as checkout:
        await either.account.balance()
    assert seen.under(checkout) == ["roamify.account.balance"]


async def test_retries(either, sandbox, seen):
    """Each try is a span, and the call tells how many there were."""
    sandbox.fail("GET", "/api/balance", "503", times=2)
    await either.account.balance()
    (call,) = seen.spans("roamify.")
    assert facts(call) == (None, 3, "answered", "ok")
    assert seen.under(call) == ["GET /api/balance"] * 3
    assert [span.status.is_ok for span in seen.spans("GET")] == [False, False, True]
    assert [span.attributes.get("error.type") for span in seen.spans("GET")] == ["503", "503", None]
    assert [point.value for point in seen.metrics()["roamify.retries"]] == [2]


async def test_doubt(either, sandbox, seen):
    """A purchase in doubt is a failed span, which has its reference, and is counted."""
    sandbox.fail("POST", ORDER, "drop", when="before")
    with pytest.raises(PurchaseInDoubtError):
        await either.with_settings(reconcile_window=0).orders.create([OrderItem(PLAIN)], reference_id="r")
    (call,) = seen.spans("roamify.")
    assert (facts(call), call.status.is_ok) == (("r", 1, "maybe", "in_doubt"), False)
    assert call.events == ()
    metrics = seen.metrics()
    assert [point.value for point in metrics["roamify.doubts"]] == [1]
    assert [point.count for point in metrics["roamify.reconcile.duration"]] == [1]
    (calls,) = metrics["roamify.calls"]
    assert dict(calls.attributes) == {"roamify.call": "orders.create", "roamify.outcome": "in_doubt"}
    assert sandbox.orders == ()


async def test_spending(either, seen):
    """What purchases cost is counted once: not when they are found."""
    first = await either.orders.create([OrderItem(PLAIN, 2)], reference_id="r")
    await either.orders.create([OrderItem(PLAIN, 2)], reference_id="r")
    report = await either.orders.bulk([CreateOrder([OrderItem(PLAIN)]) for _ in range(3)])
    (point,) = seen.metrics()["roamify.spent"]
    assert point.value == pytest.approx(float(first.total + report.spent))
    assert [point.count > 5 for point in seen.metrics()["roamify.queue.duration"]] == [True]


async def test_workflows(either, seen):
    """What is more than one request is one span too, with all requests below it: a purchase, bulk, and a catalogue."""
    (esim,) = await either.esims.buy(PLAIN, reference_id="r")
    await either.orders.bulk([CreateOrder([OrderItem(PLAIN)], reference_id=f"b{number}") for number in range(3)])
    await either.packages.list(page_size=100)
    assert esim.iccid
    buy, bulk, packages = seen.spans("roamify.")
    assert [span.name for span in (buy, bulk, packages)] == [
        "roamify.esims.buy",
        "roamify.orders.bulk",
        "roamify.packages.list",
    ]
    assert {"POST /api/esim/apply", f"POST {ORDER}"} <= {*seen.under(buy)}
    assert facts(buy) == ("r", 1, "answered", "ok")
    assert seen.under(bulk).count(f"POST {ORDER}") == 3
    assert facts(bulk) == (None, 3, "answered", "ok")
    assert len(seen.under(packages)) >= 3
    assert {span.parent is None for span in (buy, bulk, packages)} == {True}


async def test_iterators(sandbox, client, seen):
    """An iteration is a span from its first to its last package, or until it is left."""
    whole = [package async for package in client.packages.iter(page_size=100)]
    with Roamify(sandbox.token, base_url=sandbox.url) as roamify:
        assert len(await asyncio.to_thread(lambda: list(roamify.packages.iter(page_size=100)))) == len(whole)
        await asyncio.to_thread(lambda: next(roamify.packages.iter(page_size=10)))
        gc.collect()
    assert [(span.name, facts(span)[3]) for span in seen.spans("roamify.")] == [("roamify.packages.iter", "ok")] * 3
    assert len(seen.under(seen.spans("roamify.")[0])) >= 3


async def test_cancelled(client, sandbox, seen):
    """A call that is cut off ends its span."""
    sandbox.fail("GET", "/api/balance", "hang")
    with anyio.move_on_after(0.2):
        await client.account.balance()
    (call,) = seen.spans("roamify.")
    assert facts(call)[3] == "cancelled"


async def test_requests(client, seen):
    """``request`` has a span as well; its path is not in it, since it may hold anything."""
    await client.request("GET", "/api/balance")
    (call,) = seen.spans("roamify.")
    assert (call.name, seen.under(call)) == ("roamify.request", ["GET"])


async def test_nothing_private(either, sandbox, seen):
    """Nothing that is exported contains a token, an LPA code, an ICCID, an id of an eSIM or a traveller's text."""
    (esim,) = await either.esims.buy(PLAIN, reference_id="r")
    await either.esims.usage(esim.iccid)
    await either.esims.get(iccid=esim.iccid)
    await either.esims.send_sms(esim.iccid, "SECRET TEXT")
    for wrong in (either.esims.usage("8944500102198304826"), either.vouchers.get_by_code("SECRET-CODE")):
        with pytest.raises(RoamifyError):
            await wrong
    text = seen.text()
    assert "GET /api/esim/usage" in text
    secrets = (sandbox.token, esim.iccid, esim.esim.lpa_code, esim.esim.activation_code, esim.id)
    for secret in (*secrets, "8944500102198304826", "SECRET"):
        assert secret not in text, secret


async def test_other_instrumentation_is_silent(client, seen):
    """Instrumentation of aiohttp adds no second span for a request, whose URL would contain an ICCID."""
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.aiohttp_client")
    instrumentation.AioHttpClientInstrumentor().instrument(tracer_provider=seen.provider)
    try:
        await client.account.balance()
    finally:
        instrumentation.AioHttpClientInstrumentor().uninstrument()
    assert [span.name for span in seen.spans()] == ["GET /api/balance", "roamify.account.balance"]


async def test_suppression(client, monkeypatch, seen):
    """Others are told by OpenTelemetry's context not to instrument the request, and only the request."""
    key, told = context._SUPPRESS_HTTP_INSTRUMENTATION_KEY, []
    transport = client._engine.transport
    send = transport.send

    async def spy(*args: object, **options: object):
        told.append(context.get_value(key))
        return await send(*args, **options)

    monkeypatch.setattr(transport, "send", spy)
    await client.account.balance()
    assert (told, context.get_value(key)) == ([True], None)


def test_not_used():
    """A program that does not import OpenTelemetry does not get it imported, and has no spans."""
    code = (
        "import sys\n"
        "from roamify_async import Roamify\n"
        "from roamify_async._core import telemetry\n"
        "from roamify_async.sandbox import Sandbox\n"
        "with Sandbox(packages=300) as sandbox, Roamify(sandbox.token, base_url=sandbox.url) as roamify:\n"
        "    roamify.account.balance(); roamify.packages.list()\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')], telemetry.start('x'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[] None\n", "")
