"""PagePrefetcher one page of 50 packages, in CPU time, against pydantic, orjson and msgspec.

    python -m benchmarks.decoding

pydantic and msgspec read into the same fields, but leave what stands for "none" or "no limit" as it is.
"""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from typing import Any

from roamify_async._http.messages import HttpResponse
from roamify_async._serde.envelope import decode
from roamify_async.api.packages import Packages
from roamify_async.models.packages import PackagePage

from .measuring import Line, Scale, in_turns, ratios
from .peers import model_reader, read_dicts, struct_reader
from .server import Serving, page_bodies


def ours(body: bytes) -> PackagePage:
    """Read a page as the client does."""
    return decode(HttpResponse(200, {}, body), PackagePage, Packages.page.data_path)


def _seconds(read: Callable[[bytes], Any], bodies: list[bytes]) -> float:
    begun = time.process_time()
    for body in bodies:
        read(body)
    return time.process_time() - begun


def measure(_: Serving, scale: Scale) -> Iterator[Line]:
    """Measure; the pages come from all over the catalogue."""
    pages = page_bodies(scale.packages)
    bodies = [*islice(cycle(pages[:: max(1, len(pages) // 20)]), scale.decodes)]
    ways = {"ours": ours, "pydantic": model_reader(), "orjson": read_dicts, "msgspec": struct_reader()}
    for read in ways.values():
        read(bodies[0])
    costs = in_turns({name: partial(_seconds, read, bodies) for name, read in ways.items()}, scale.rounds_here)
    yield Line("a page of 50 packages, CPU / pydantic v2", ratios(costs, "ours", "pydantic"), goal=0.6)
    yield Line("a page of 50 packages, CPU / orjson dicts", ratios(costs, "ours", "orjson"))
    yield Line("a page of 50 packages, CPU / msgspec Structs", ratios(costs, "ours", "msgspec"))


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["decoding"]))
