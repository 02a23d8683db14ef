"""Sends each documented request to a mock of the API, and decodes what it answers.

    npx @stoplight/prism-cli mock -d roamify_async/sandbox/http/openapi.json
    python -m tests.contract.mock http://127.0.0.1:4010

A mock that answers at random, as Prism does with ``-d``, shows whether the description is as strict as the client: each
response that the description allows has to be decoded.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence

import aiohttp

from roamify_async import DecodeError
from roamify_async._http.messages import HttpResponse
from tests.fuzz.hostile import ROWS, SAMPLES
from tests.support.endpoints import decoded


async def ask(session: aiohttp.ClientSession, url: str, name: str) -> HttpResponse:
    """Send the documented request of a row, and return the response."""
    request = json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))["request"]
    body = request["body"]
    async with session.request(
        request["method"], f"{url}{request['path']}", params=request["query"], json=body,
        headers={"Authorization": "Bearer a-token"},
    ) as response:  # fmt: skip
        headers = {key.lower(): value for key, value in response.headers.items()}
        return HttpResponse(response.status, headers, await response.read())


async def check(url: str, rounds: int) -> Counter[str]:
    """Return how many responses were decoded, and how many were not, by row and reason."""
    found: Counter[str] = Counter()
    async with aiohttp.ClientSession() as session:
        for name in ROWS:
            for _ in range(rounds):
                response = await ask(session, url, name)
                if response.status >= 400:
                    found[f"{name}: the mock answered {response.status}: {response.body[:200]!r}"] += 1
                    continue
                try:
                    decoded(ROWS[name], response)
                except DecodeError as error:
                    found[f"{name}: {error}"] += 1
                else:
                    found["decoded"] += 1
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.contract.mock", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("url", help="base URL of the mock")
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="requests for each row (10)")
    asked = parser.parse_args(arguments)
    found = asyncio.run(check(asked.url, asked.rounds))
    decodes = found.pop("decoded", 0)
    for line, count in found.most_common():
        print(f"{count:4} {line}")
    print(f"{decodes} of {decodes + found.total()} responses decoded")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
