"""Settings are immutable values, and a wrong one is refused with the field's name."""

import math
import ssl
from datetime import timedelta

import aiohttp
import attrs
import pytest
import trustme
from hypothesis import given, strategies as st

from roamify_async import Retries, Settings, Timeouts
from roamify_async.settings import DEFAULT_TIMEOUTS

LIMITS = st.none() | st.floats(min_value=0.001, max_value=1e6)
TIMEOUTS = st.builds(Timeouts, connect=LIMITS, read=LIMITS, total=LIMITS)


def test_defaults():
    """Each default is as documented."""
    assert attrs.asdict(Settings(), recurse=False) == {
        "timeouts": Timeouts(connect=None, read=None, total=None),
        "retries": Retries(tries=5, wait=0.5, longest_wait=10, deadline=None),
        "concurrency": 16,
        "rate": None,
        "reconcile_window": 30,
        "look_first": True,
        "check_packages": True,
        "max_response_size": 64 * 2**20,
        "on_doubt": "look_up",
        "proxy": None,
        "ssl": None,
        "trust_env": False,
        "allow_http": False,
        "trace_configs": (),
        "user_agent": None,
    }
    assert Timeouts(connect=10, read=None, total=30) == DEFAULT_TIMEOUTS


@pytest.mark.parametrize("name", ["connect", "read", "total"])
def test_timeouts_over_others(name):
    """A timeout that is set takes precedence; one that is ``None`` comes from the fallback."""
    mine, theirs = Timeouts(**{name: 1}), Timeouts(connect=7, read=8, total=9)
    assert mine.over(theirs) == attrs.evolve(theirs, **{name: 1})
    assert theirs.over(mine) == theirs
    assert Timeouts().over(mine) == mine
    assert mine.over(Timeouts()) == mine


@given(TIMEOUTS, TIMEOUTS, TIMEOUTS)
def test_over_is_associative(mine, rows, default):
    """Three sets of timeouts can be combined in any grouping."""
    assert mine.over(rows).over(default) == mine.over(rows.over(default))


TIMES = [
    (Timeouts, "connect"),
    (Timeouts, "read"),
    (Timeouts, "total"),
    (Retries, "wait"),
    (Retries, "longest_wait"),
    (Retries, "deadline"),
    (Settings, "reconcile_window"),
]


DURATIONS = [(timedelta(minutes=2, milliseconds=500), 120.5), (3, 3), (0.25, 0.25), (math.inf, math.inf)]


@pytest.mark.parametrize(("kind", "name"), TIMES)
def test_times(kind, name):
    """A time is a number of seconds, a ``timedelta`` or infinite; anything else is refused by the field's name."""
    for value, seconds in DURATIONS:
        assert getattr(kind(**{name: value}), name) == seconds
    for value in ("5", True, False, b"5", [5], object()):
        with pytest.raises(TypeError, match=name):
            kind(**{name: value})
    for value in (-1, -0.001, -math.inf, math.nan, timedelta(seconds=-1)):
        with pytest.raises(ValueError, match=name):
            kind(**{name: value})


@pytest.mark.parametrize(
    ("kind", "name"), [(Timeouts, "connect"), (Timeouts, "read"), (Timeouts, "total"), (Retries, "deadline")]
)
def test_timeouts_are_positive(kind, name):
    """A timeout or deadline of 0 is refused, since no request could succeed."""
    for nothing in (0, 0.0, timedelta()):
        with pytest.raises(ValueError, match=f"{name} must be more than 0"):
            kind(**{name: nothing})
    assert getattr(kind(**{name: None}), name) is None


@pytest.mark.parametrize(
    ("kind", "name"), [(Retries, "wait"), (Retries, "longest_wait"), (Settings, "reconcile_window")]
)
def test_waits_may_be_0(kind, name):
    """A wait may be 0, but not ``None``."""
    assert getattr(kind(**{name: 0}), name) == 0
    with pytest.raises(TypeError):
        kind(**{name: None})


@pytest.mark.parametrize(("kind", "name"), [(Retries, "tries"), (Settings, "concurrency")])
def test_whole_numbers(kind, name):
    """A count is an integer from 1."""
    assert getattr(kind(**{name: 1}), name) == 1
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"{name} must be at least 1"):
            kind(**{name: wrong})
    for wrong in (True, 1.0, "1", None):
        with pytest.raises(TypeError, match=f"{name} must be a whole number"):
            kind(**{name: wrong})


def test_rate():
    """A rate is a number above 0, or ``None``."""
    assert Settings(rate=0.1).rate == 0.1
    assert Settings(rate=None).rate is None
    for wrong in (0, -1, math.nan):
        with pytest.raises(ValueError, match="rate must be more than 0"):
            Settings(rate=wrong)


def test_on_doubt():
    """``on_doubt`` is one of three words; anything else is refused, since it decides about money."""
    for policy in ("raise", "look_up", "look_up_then_resend"):
        assert Settings(on_doubt=policy).on_doubt == policy
    for wrong in ("", "resend", "LOOK_UP", None, 1, []):
        with pytest.raises((TypeError, ValueError), match="on_doubt"):
            Settings(on_doubt=wrong)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("timeouts", 5),
        ("timeouts", None),
        ("timeouts", Retries()),
        ("retries", 5),
        ("retries", None),
        ("rate", "5"),
        ("rate", True),
        ("ssl", 5),
        ("proxy", 5),
        ("trust_env", "no"),
        ("allow_http", "no"),
        ("allow_http", None),
        ("trace_configs", 5),
        ("user_agent", 5),
    ],
)
def test_wrong_types(name, wrong):
    """A value of the wrong type raises a ``TypeError`` that names the field."""
    with pytest.raises(TypeError, match=name):
        Settings(**{name: wrong})


@pytest.mark.parametrize("kind", [Settings, Timeouts, Retries])
def test_unknown_names(kind):
    """An unknown name is a ``TypeError``, and so is a positional argument."""
    with pytest.raises(TypeError, match="nope"):
        kind(nope=1)
    with pytest.raises(TypeError, match="positional"):
        kind(getattr(kind(), attrs.fields(kind)[0].name))


def test_changed():
    """``changed`` returns a copy, which is validated."""
    before = Settings(concurrency=2, proxy="http://proxy:1")
    after = before.changed(rate=4, reconcile_window=timedelta(seconds=1))
    assert (after.concurrency, after.rate, after.reconcile_window, after.proxy) == (2, 4, 1, "http://proxy:1")
    assert (before.rate, before.reconcile_window) == (None, 30)
    assert before.changed() == before
    with pytest.raises(TypeError, match="nope"):
        before.changed(nope=1)
    with pytest.raises(ValueError, match="concurrency"):
        before.changed(concurrency=0)


@pytest.mark.parametrize("value", [Settings(), Timeouts(), Retries()])
def test_frozen(value):
    """Settings are immutable."""
    for field in attrs.fields(type(value)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, field.name, 1)


def test_proxy_is_not_shown():
    """The proxy, whose URL may contain a password, is in no text of the settings."""
    settings = Settings(proxy="http://me:hunter2@proxy:3128")
    assert settings.proxy == "http://me:hunter2@proxy:3128"
    for text in (repr(settings), str(settings), f"{settings}", repr(settings.changed(rate=1))):
        assert "hunter2" not in text
        assert "proxy" not in text


def test_certificates(tmp_path):
    """``ssl`` is an SSL context, or the path of a CA bundle."""
    context = ssl.create_default_context()
    assert Settings(ssl=context).ssl is context
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(bundle)
    for path in (bundle, str(bundle)):
        made = Settings(ssl=path).ssl
        assert isinstance(made, ssl.SSLContext)
        assert made.verify_mode is ssl.CERT_REQUIRED
        assert made.check_hostname
        assert len(made.get_ca_certs()) == 1


def test_trace_configs_are_kept_in_order():
    """Trace configurations are taken from any iterable, in order."""
    traces = (aiohttp.TraceConfig(), aiohttp.TraceConfig())
    assert Settings(trace_configs=iter(traces)).trace_configs == traces


@pytest.mark.parametrize("rate", [math.inf, 10**400, 1_000_001])
def test_rate_without_effect(rate):
    """A rate that limits nothing is refused, and the message says how to set none."""
    with pytest.raises(ValueError, match="None is no limit"):
        Settings(rate=rate)


def test_invalid_trace_configs():
    """Other objects than trace configurations are refused."""
    with pytest.raises(TypeError, match=r"aiohttp\.TraceConfig"):
        Settings(trace_configs=[5])
