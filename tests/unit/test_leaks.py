"""The watch over tokens, which every test runs under, sees what it is there to see."""

import logging

import pytest
from support.leaks import TOKENS, frames

from roamify_async import APIStatusError, ConfigurationError, RoamifyError
from roamify_async._http.credentials import Credentials, Token, resolve_credentials


def test_watch_sees_logs(no_token_shows):
    """A token in a log record, or in its arguments, is seen."""
    logging.getLogger("any").debug("%s", {"Authorization": TOKENS[0]})
    assert any(TOKENS[0] in text for text in no_token_shows.shown())
    no_token_shows.texts.clear()


def test_watch_sees_messages(no_token_shows):
    """A token in an error's message is seen."""
    RoamifyError(TOKENS[1])
    assert any(TOKENS[1] in text for text in no_token_shows.shown())
    no_token_shows.errors.clear()


def test_watch_sees_values(no_token_shows):
    """A token in a value that an error carries is seen."""
    APIStatusError("no", status=400, body=TOKENS[1])
    assert any(TOKENS[1] in text for text in no_token_shows.shown())
    no_token_shows.errors.clear()


def test_watch_sees_frames():
    """The client's frames of a traceback are looked at with their local variables, and the token is in none."""
    with pytest.raises(ConfigurationError) as caught:
        resolve_credentials(Token(f"{TOKENS[1]}\nX"), None, allow_http=False)
    assert any("problem" in frame for frame in frames(caught.value))
    assert not any(TOKENS[1] in frame for frame in frames(caught.value))


def test_access_does_not_show_its_token():
    """The value that carries the token does not show it."""
    assert TOKENS[1] not in repr(Credentials("https://host", TOKENS[1]))
