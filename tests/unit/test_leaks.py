"""The search for leaked tokens, which runs around every test, finds what it should."""

import asyncio
import logging

import pytest
from support.leaks import TOKENS, frames
from support.servers import Raw

from roamify_async import APIStatusError, AsyncRoamify, ConfigurationError, RoamifyError
from roamify_async._http import transport
from roamify_async._http.credentials import Credentials, Token, resolve_credentials


def test_watch_sees_logs(no_token_shows):
    """A token in a log record, or in its arguments, is found."""
    logging.getLogger("any").debug("%s", {"Authorization": TOKENS[0]})
    assert any(TOKENS[0] in text for text in no_token_shows.shown())
    no_token_shows.texts.clear()


def test_watch_sees_messages(no_token_shows):
    """A token in the message of an error is found."""
    RoamifyError(TOKENS[1])
    assert any(TOKENS[1] in text for text in no_token_shows.shown())
    no_token_shows.errors.clear()


def test_watch_sees_values(no_token_shows):
    """A token in an attribute of an error is found."""
    APIStatusError("no", status=400, body=TOKENS[1])
    assert any(TOKENS[1] in text for text in no_token_shows.shown())
    no_token_shows.errors.clear()


def test_watch_sees_frames():
    """The library's frames of a traceback are searched with their local variables; none has the token."""
    with pytest.raises(ConfigurationError) as caught:
        resolve_credentials(Token(f"{TOKENS[1]}\nX"), None, allow_http=False)
    assert any("problem" in frame for frame in frames(caught.value))
    assert not any(TOKENS[1] in frame for frame in frames(caught.value))


async def test_watch_sees_cancelled_requests(no_token_shows, monkeypatch):
    """A token in the frames of a request that is cancelled is found, in frames of aiohttp too."""
    monkeypatch.setattr(transport, "_cut", lambda *_: None)
    monkeypatch.setattr(transport, "HiddenText", str)
    async with Raw(silence) as server, AsyncRoamify(TOKENS[1], base_url=server.url) as client:
        call = asyncio.ensure_future(client.account.balance())
        await server.came.wait()
        call.cancel()
        await asyncio.wait([call])
    assert any(TOKENS[1] in text for text in no_token_shows.shown())
    no_token_shows.texts.clear()


async def silence(connection):
    """Read a request and never respond."""
    await connection.request()
    await asyncio.Event().wait()


def test_credentials_do_not_show_the_token():
    """The ``repr`` of the credentials does not show the token."""
    assert TOKENS[1] not in repr(Credentials("https://host", TOKENS[1]))
