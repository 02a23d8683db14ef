"""A partner of the sandbox: a plain HTTP client that knows none of the library's code."""

import json
from contextlib import asynccontextmanager
from decimal import Decimal

import aiohttp

from roamify_async.sandbox import Sandbox


class Partner:
    """A plain HTTP client of one sandbox."""

    def __init__(self, sandbox, session) -> None:
        """Take the sandbox and a session that knows its token."""
        self.sandbox, self.session = sandbox, session

    async def call(self, method, path, *, status=200, **given: object):
        """Send a request, insist on its status, and read the JSON with exact numbers, or the text of a page."""
        async with self.session.request(method, path, **given) as response:
            text = await response.text()
            assert response.status == status, text
            return text if response.content_type == "text/html" else json.loads(text, parse_float=Decimal)

    async def get(self, path, *, status=200, **query: str):
        """Read something."""
        return await self.call("GET", path, status=status, params=query)

    async def post(self, path, body, *, status=200):
        """Send JSON."""
        return await self.call("POST", path, status=status, json=body)

    async def buy(self, package_id, *, quantity=1, path="/api/esim/order", status=200, **more: object):
        """Order one package."""
        body = {"items": [{"packageId": package_id, "quantity": quantity}], **more}
        return await self.post(path, body, status=status)

    async def applied(self, package_id, **more: object):
        """Buy one eSIM and make its profile."""
        order = await self.buy(package_id)
        answer = await self.post("/api/esim/apply", {"esimId": order["data"]["items"][0]["esimId"], **more})
        return answer["data"]

    def kind(self, name):
        """Name a package of a kind."""
        return self.sandbox.kinds[name][0]


@asynccontextmanager
async def partner_of(**options: object):
    """Run a small sandbox and give its client."""
    async with Sandbox(**{"packages": 300, **options}) as sandbox:
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        async with aiohttp.ClientSession(sandbox.url, headers=headers) as session:
            yield Partner(sandbox, session)
