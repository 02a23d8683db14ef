"""The token and the base URL are validated, and the token is never shown."""

import traceback

import attrs
import pytest
from hypothesis import given, strategies as st

from roamify_async import DEVELOPMENT, PRODUCTION, ConfigurationError
from roamify_async._http.credentials import Credentials, Token, resolve_credentials

TOKEN = "roamify_0123456789abcdef"


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch):
    """Remove the variables of the real environment."""
    monkeypatch.delenv("ROAMIFY_TOKEN", raising=False)
    monkeypatch.delenv("ROAMIFY_BASE_URL", raising=False)


def refused(token: object = TOKEN, base_url: object = None, *, allow_http: bool = False) -> ConfigurationError:
    """Return the error for an invalid token or URL."""
    with pytest.raises(ConfigurationError) as caught:
        resolve_credentials(Token(token), base_url, allow_http=allow_http)
    return caught.value


def everything_shown(error: BaseException) -> str:
    """Return all that a tool could show of an error, local variables of the library's frames included."""
    inner = error.__traceback__
    while inner is not None and inner.tb_frame.f_code.co_filename == __file__:  # these frames hold the token
        inner = inner.tb_next
    assert inner is not None
    shown = traceback.TracebackException(type(error), error, inner, capture_locals=True)
    return "".join(shown.format()) + str(error) + repr(error)


# ---------------------------------------------------------------- the token


def test_token():
    """A token that is passed is used."""
    assert resolve_credentials(Token(TOKEN), None, allow_http=False).token == TOKEN


@pytest.mark.parametrize("padding", [" ", "\n", "\r\n", "\t", " \t\n"])
def test_whitespace_around_a_token(padding):
    """Whitespace around a token is removed."""
    assert resolve_credentials(Token(padding + TOKEN + padding), None, allow_http=False).token == TOKEN


def test_token_of_the_environment(monkeypatch):
    """Without an argument the token comes from the environment, stripped; an argument takes precedence."""
    monkeypatch.setenv("ROAMIFY_TOKEN", f"{TOKEN}\n")
    assert resolve_credentials(Token(None), None, allow_http=False).token == TOKEN
    assert resolve_credentials(Token("another-token"), None, allow_http=False).token == "another-token"


@pytest.mark.parametrize("token", [None, "", "   ", "\n"])
def test_no_token(token):
    """A missing token is refused with a message that says how to pass one and where tokens come from."""
    message = str(refused(token))
    assert "no token" in message
    assert "ROAMIFY_TOKEN" in message
    assert "partner portal" in message


def test_empty_token_is_not_replaced(monkeypatch):
    """An empty argument is refused, not replaced by the environment's token."""
    monkeypatch.setenv("ROAMIFY_TOKEN", TOKEN)
    assert "no token" in str(refused(""))


def test_empty_environment(monkeypatch):
    """An empty variable is no token."""
    monkeypatch.setenv("ROAMIFY_TOKEN", " ")
    assert "no token" in str(refused(None))


@pytest.mark.parametrize("token", [b"roamify_0123456789abcdef", 5, ["x"], True])
def test_token_of_a_wrong_type(token):
    """A token must be text."""
    assert "must be text" in str(refused(token))


@pytest.mark.parametrize("character", ["\n", "\r", "\0", "\x1b", "\x7f", "\t", " ", "é", "\u200b", "\u202e", "\ud800"])
def test_tokens_that_cannot_be_sent(character):
    """A token with control characters, spaces or non-ASCII letters is refused, and no part of it is shown."""
    error = refused(f"sesame123{character}open45678")
    shown = everything_shown(error)
    assert "copy it again" in shown
    assert "sesame" not in shown
    assert "open456" not in shown
    assert error.sent == "no"
    assert error.__cause__ is None
    assert error.__context__ is None


def test_invalid_token_of_the_environment(monkeypatch):
    """An invalid token of the environment is not shown either."""
    monkeypatch.setenv("ROAMIFY_TOKEN", "sesame123\x1bopen45678")
    assert "sesame" not in everything_shown(refused(None))


def test_bad_url_does_not_show_the_token():
    """The traceback for an invalid URL does not show the token, not even in local variables."""
    assert TOKEN not in everything_shown(refused(TOKEN, "ftp://example.com"))


def test_repr():
    """The text of the credentials has the host and not the token."""
    credentials = resolve_credentials(Token(TOKEN), None, allow_http=False)
    for text in (repr(credentials), str(credentials), f"{credentials}"):
        assert TOKEN not in text
        assert "api.getroamify.com" in text


def test_frozen():
    """Credentials are immutable."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        resolve_credentials(Token(TOKEN), None, allow_http=False).token = "x"


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_any_printable_token(token):
    """Any printable ASCII text may be a token."""
    assert resolve_credentials(Token(token), None, allow_http=False).token == token


# ---------------------------------------------------------------- the base URL


def test_production_by_default():
    """The default URL is production."""
    assert (
        resolve_credentials(Token(TOKEN), None, allow_http=False).base_url == PRODUCTION == "https://api.getroamify.com"
    )


def test_url_of_the_environment(monkeypatch):
    """Without an argument the URL comes from the environment; an empty variable counts as unset."""
    monkeypatch.setenv("ROAMIFY_BASE_URL", "https://example.com/x/")
    assert resolve_credentials(Token(TOKEN), None, allow_http=False).base_url == "https://example.com/x"
    assert resolve_credentials(Token(TOKEN), DEVELOPMENT, allow_http=False).base_url == DEVELOPMENT
    monkeypatch.setenv("ROAMIFY_BASE_URL", "")
    assert resolve_credentials(Token(TOKEN), None, allow_http=False).base_url == PRODUCTION


def test_url_of_the_environment_is_checked(monkeypatch):
    """The environment's URL is validated too."""
    monkeypatch.setenv("ROAMIFY_BASE_URL", "http://example.com")
    assert "plain http" in str(refused())


@pytest.mark.parametrize("url", ["", " ", b"", 0])
def test_empty_url_is_not_production(url, monkeypatch):
    """An empty argument is refused, since the default would spend real money."""
    assert "base URL" in str(refused(TOKEN, url))
    monkeypatch.setenv("ROAMIFY_BASE_URL", "https://example.com")
    assert "base URL" in str(refused(TOKEN, url))


@pytest.mark.parametrize(
    ("url", "kept", "host"),
    [
        ("https://example.com", "https://example.com", "example.com"),
        ("https://example.com/", "https://example.com", "example.com"),
        (" https://example.com\n", "https://example.com", "example.com"),
        ("https://example.com:8443", "https://example.com:8443", "example.com:8443"),
        ("https://example.com/proxy/roamify", "https://example.com/proxy/roamify", "example.com"),
        ("https://example.com/proxy/roamify//", "https://example.com/proxy/roamify", "example.com"),
        ("HTTPS://example.com/x", "HTTPS://example.com/x", "example.com"),
        ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x", "[2001:db8::1]:8443"),
        ("https://example.com/a%20b", "https://example.com/a%20b", "example.com"),
    ],
)
def test_urls(url, kept, host):
    """A URL keeps its path and port, without a trailing slash."""
    made = resolve_credentials(Token(TOKEN), url, allow_http=False)
    assert (made.base_url, made.host) == (kept, host)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://example.com?", "no query"),
        ("https://example.com/?a=1", "no query"),
        ("https://example.com/#", "no fragment"),
        ("https://example.com/#top", "no fragment"),
        ("https://me:sesame1@example.com", "user or password"),
        ("https://sesame1@example.com", "user or password"),
        ("https://@example.com", "user or password"),
        ("ftp://example.com", "must begin with https://"),
        ("wss://example.com", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("example.com", "must begin with https://"),
        ("//example.com", "must begin with https://"),
        ("https://", "must begin with https://"),
        ("https:///path", "must begin with https://"),
        ("https://:443", "must begin with https://"),
        ("https://example.com:port", "cannot be parsed"),
        ("https://example.com:99999", "cannot be parsed"),
        ("https://[::1", "cannot be parsed"),
        ("https://exa mple.com", "whitespace or control"),
        ("https://example.com/a b", "whitespace or control"),
        ("https://exam\nple.com", "whitespace or control"),
        ("https://example.com/\x00", "whitespace or control"),
        ("https://example.com/\u202e", "whitespace or control"),
        (5, "must be text"),
        (b"https://example.com", "must be text"),
    ],
)
def test_bad_urls(url, reason):
    """An invalid URL is refused with the reason; a password in it is not shown."""
    for allow_http in (False, True):
        error = refused(TOKEN, url, allow_http=allow_http)
        assert str(error).startswith("the base URL ")
        assert reason in str(error)
        assert "sesame1" not in str(error)
        assert TOKEN not in everything_shown(error)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost:8787", "api.localhost", "127.0.0.1", "127.0.0.1:1", "127.9.9.9", "[::1]:80"],
)
def test_http_to_loopback(host):
    """Plain HTTP to this machine is allowed."""
    assert resolve_credentials(Token(TOKEN), f"http://{host}/x", allow_http=False).base_url == f"http://{host}/x"


@pytest.mark.parametrize(
    "host",
    ["example.com", "10.0.0.1", "192.168.0.1", "0.0.0.0", "128.0.0.1", "[::]", "[2001:db8::1]", "localhost.example.com",
     "notlocalhost", "127.0.0.1.example.com", "169.254.169.254"],
)  # fmt: skip
def test_http_to_other_hosts(host):
    """Plain HTTP to another host must be allowed explicitly."""
    message = str(refused(TOKEN, f"http://{host}/x"))
    assert "plain http" in message
    assert "allow_http=True" in message
    assert resolve_credentials(Token(TOKEN), f"http://{host}/x", allow_http=True).base_url == f"http://{host}/x"


@given(st.text())
def test_any_url(url):
    """Any text is accepted or refused with a ``ConfigurationError``, and an accepted URL has a host."""
    try:
        made = resolve_credentials(Token(TOKEN), "https://" + url, allow_http=False)
    except ConfigurationError:
        return
    assert made.host
    assert "@" not in made.host


# ---------------------------------------------------------------- redaction


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nothing", "nothing"),
        ("", ""),
        (f"Bearer {TOKEN}", "Bearer ***"),
        (f"{TOKEN} and {TOKEN}", "*** and ***"),
        ("http://me:sesame@proxy:3128/x", "http://***@proxy:3128/x"),
        ("http://sesame@proxy and https://a:b@c", "http://***@proxy and https://***@c"),
        (f"http://{TOKEN}@proxy", "http://***@proxy"),
        ("mail me@example.com", "mail me@example.com"),
        ("https://example.com/a@b", "https://example.com/a@b"),
        ("https://example.com mail me@example.com", "https://example.com mail me@example.com"),
    ],
)
def test_redaction(text, shown):
    """The token, and passwords in URLs, are removed from text; nothing else is."""
    assert resolve_credentials(Token(TOKEN), None, allow_http=False).redact(text) == shown


@pytest.mark.parametrize(
    ("token", "shown"), [("abcde", "say abcdefgh"), ("abcdef", "say ***gh"), ("e", "say abcdefgh")]
)
def test_redaction_of_short_tokens(token, shown):
    """A token of fewer than six characters is not redacted, since it occurs in too many words."""
    assert Credentials(PRODUCTION, token).redact("say abcdefgh") == shown


@given(st.text(), st.text())
def test_redaction_leaves_no_token(before, after):
    """No token is left, whatever stands around it."""
    assert TOKEN not in Credentials(PRODUCTION, TOKEN).redact(before + TOKEN + after)
