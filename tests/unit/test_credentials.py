"""Who calls, and where: a token that is never shown, and a place to which it may travel."""

import traceback

import attrs
import pytest
from hypothesis import given, strategies as st

from roamify_async import DEVELOPMENT, PRODUCTION, ConfigurationError
from roamify_async._http.credentials import Credentials, Token, resolve_credentials

TOKEN = "roamify_0123456789abcdef"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    """Leave nothing of the real environment."""
    monkeypatch.delenv("ROAMIFY_TOKEN", raising=False)
    monkeypatch.delenv("ROAMIFY_BASE_URL", raising=False)


def refused(token: object = TOKEN, base_url: object = None, *, allow_http: bool = False) -> ConfigurationError:
    """Give the error that a token or a URL is refused with."""
    with pytest.raises(ConfigurationError) as caught:
        resolve_credentials(Token(token), base_url, allow_http=allow_http)
    return caught.value


def everything_shown(error: BaseException) -> str:
    """Give all that a tool could show of an error, local variables of the library's frames included."""
    inner = error.__traceback__
    while inner is not None and inner.tb_frame.f_code.co_filename == __file__:  # these frames hold the token
        inner = inner.tb_next
    assert inner is not None
    shown = traceback.TracebackException(type(error), error, inner, capture_locals=True)
    return "".join(shown.format()) + str(error) + repr(error)


# ---------------------------------------------------------------- the token


def test_token_that_is_given():
    """A token that is given is the one that is used."""
    assert resolve_credentials(Token(TOKEN), None, allow_http=False).token == TOKEN


@pytest.mark.parametrize("padding", [" ", "\n", "\r\n", "\t", " \t\n"])
def test_white_space_around_a_token(padding):
    """White space around a token comes from copying, and is taken away."""
    assert resolve_credentials(Token(padding + TOKEN + padding), None, allow_http=False).token == TOKEN


def test_token_of_the_environment(monkeypatch):
    """Without a token the environment's is used, stripped as well; one that is given goes first."""
    monkeypatch.setenv("ROAMIFY_TOKEN", f"{TOKEN}\n")
    assert resolve_credentials(Token(None), None, allow_http=False).token == TOKEN
    assert resolve_credentials(Token("another-token"), None, allow_http=False).token == "another-token"


@pytest.mark.parametrize("token", [None, "", "   ", "\n"])
def test_no_token(token):
    """Without a token the error says how to give one and where they come from."""
    message = str(refused(token))
    assert "no token" in message
    assert "ROAMIFY_TOKEN" in message
    assert "partner portal" in message


def test_empty_token_is_not_replaced(monkeypatch):
    """A token that is given and empty is an error: the environment's is somebody else's."""
    monkeypatch.setenv("ROAMIFY_TOKEN", TOKEN)
    assert "no token" in str(refused(""))


def test_empty_environment(monkeypatch):
    """An empty variable is no token."""
    monkeypatch.setenv("ROAMIFY_TOKEN", " ")
    assert "no token" in str(refused(None))


@pytest.mark.parametrize("token", [b"roamify_0123456789abcdef", 5, ["x"], True])
def test_token_that_is_no_text(token):
    """A token is text."""
    assert "must be text" in str(refused(token))


@pytest.mark.parametrize("character", ["\n", "\r", "\0", "\x1b", "\x7f", "\t", " ", "é", "\u200b", "\u202e", "\ud800"])
def test_tokens_that_cannot_be_sent(character):
    """A token with control characters, spaces or other alphabets inside is refused, and not one half of it is shown."""
    error = refused(f"sesame123{character}open45678")
    shown = everything_shown(error)
    assert "copy it again" in shown
    assert "sesame" not in shown
    assert "open456" not in shown
    assert error.sent == "no"
    assert error.__cause__ is None
    assert error.__context__ is None


def test_token_of_the_environment_is_not_shown_either(monkeypatch):
    """A broken token of the environment is not shown."""
    monkeypatch.setenv("ROAMIFY_TOKEN", "sesame123\x1bopen45678")
    assert "sesame" not in everything_shown(refused(None))


def test_good_token_is_not_shown_for_a_bad_url():
    """Where the URL is what is wrong, a traceback with local variables does not show the token."""
    assert TOKEN not in everything_shown(refused(TOKEN, "ftp://example.com"))


def test_token_is_not_in_texts():
    """No text of an access shows its token."""
    given_access = resolve_credentials(Token(TOKEN), None, allow_http=False)
    for text in (repr(given_access), str(given_access), f"{given_access}"):
        assert TOKEN not in text
        assert "api.getroamify.com" in text


def test_frozen():
    """A token cannot be exchanged for another."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        resolve_credentials(Token(TOKEN), None, allow_http=False).token = "x"


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_any_visible_token(token):
    """The form of a token is not checked: anything that a header can carry may be one."""
    assert resolve_credentials(Token(token), None, allow_http=False).token == token


# ---------------------------------------------------------------- the place


def test_production_by_default():
    """Where no place is named, it is production."""
    assert (
        resolve_credentials(Token(TOKEN), None, allow_http=False).base_url == PRODUCTION == "https://api.getroamify.com"
    )


def test_place_of_the_environment(monkeypatch):
    """Without a URL the environment's is used; one that is given goes first; an empty variable is none."""
    monkeypatch.setenv("ROAMIFY_BASE_URL", "https://example.com/x/")
    assert resolve_credentials(Token(TOKEN), None, allow_http=False).base_url == "https://example.com/x"
    assert resolve_credentials(Token(TOKEN), DEVELOPMENT, allow_http=False).base_url == DEVELOPMENT
    monkeypatch.setenv("ROAMIFY_BASE_URL", "")
    assert resolve_credentials(Token(TOKEN), None, allow_http=False).base_url == PRODUCTION


def test_place_of_the_environment_is_checked(monkeypatch):
    """The environment's URL has to be a good one too."""
    monkeypatch.setenv("ROAMIFY_BASE_URL", "http://example.com")
    assert "plain http" in str(refused())


@pytest.mark.parametrize("url", ["", " ", b"", 0])
def test_empty_url_is_not_production(url, monkeypatch):
    """A URL that is given and empty is an error: it must not spend real money by mistake."""
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
def test_places(url, kept, host):
    """A URL keeps its path and port; a slash at its end is taken away."""
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
@pytest.mark.parametrize("allow_http", [False, True])
def test_bad_places(url, reason, allow_http):
    """A URL that is not just a place is refused with the reason, and a password in it is not shown."""
    error = refused(TOKEN, url, allow_http=allow_http)
    assert str(error).startswith("the base URL ")
    assert reason in str(error)
    assert "sesame1" not in str(error)
    assert TOKEN not in everything_shown(error)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost:8787", "api.localhost", "127.0.0.1", "127.0.0.1:1", "127.9.9.9", "[::1]:80"],
)
def test_plain_http_to_this_machine(host):
    """Plain http may be spoken with this machine."""
    assert resolve_credentials(Token(TOKEN), f"http://{host}/x", allow_http=False).base_url == f"http://{host}/x"


@pytest.mark.parametrize(
    "host",
    ["example.com", "10.0.0.1", "192.168.0.1", "0.0.0.0", "128.0.0.1", "[::]", "[2001:db8::1]", "localhost.example.com",
     "notlocalhost", "127.0.0.1.example.com", "169.254.169.254"],
)  # fmt: skip
def test_plain_http_to_others(host):
    """Plain http to any other machine shows the token on the way: it has to be allowed."""
    message = str(refused(TOKEN, f"http://{host}/x"))
    assert "plain http" in message
    assert "allow_http=True" in message
    assert resolve_credentials(Token(TOKEN), f"http://{host}/x", allow_http=True).base_url == f"http://{host}/x"


@given(st.text())
def test_any_url_is_taken_or_refused(url):
    """Whatever stands where a URL should, nothing but ConfigurationError is raised, and a good one has a host."""
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
    """A token, and passwords in URLs, are taken out of texts; nothing else is."""
    assert resolve_credentials(Token(TOKEN), None, allow_http=False).redact(text) == shown


@pytest.mark.parametrize(
    ("token", "shown"), [("abcde", "say abcdefgh"), ("abcdef", "say ***gh"), ("e", "say abcdefgh")]
)
def test_redaction_of_short_tokens(token, shown):
    """A token of less than six characters is not looked for: it stands in too many words."""
    assert Credentials(PRODUCTION, token).redact("say abcdefgh") == shown


@given(st.text(), st.text())
def test_redaction_leaves_no_token(before, after):
    """No token is left, whatever stands around it."""
    assert TOKEN not in Credentials(PRODUCTION, TOKEN).redact(before + TOKEN + after)
