"""The options of a sandbox: validation, documentation, and the types of the keyword arguments."""

from decimal import Decimal
from typing import get_type_hints

import pytest
from attrs import fields

from roamify_async.sandbox import Sandbox
from roamify_async.sandbox.options import Options, OptionsKw

INVALID_OPTIONS = [
    {"webhook_timeout": -1}, {"webhook_retry_after": (1, -1)}, {"webhook_retry_after": ("1",)},
    {"webhook_retry_after": 5}, {"webhook_retry_after": "15"}, {"webhook_types": "both"},
    {"webhook_usage_list": "nowhere"}, {"low_balance": "1.005"}, {"packages": 5}, {"packages": "300"}, {"seed": -1},
    {"balance": "1.005"}, {"balance": "-1"}, {"balance": "x"}, {"token": ""}, {"webhook_secret": "a b"},
    {"host": "0.0.0.0"}, {"host": "example.com"}, {"host": "example.com", "allow_remote": True}, {"allow_remote": 1},
    {"allow_hosts": "sandbox.test"}, {"allow_hosts": ["a b"]},
    {"port": 70_000}, {"latency": -1}, {"page_counts": "pages"},
    {"totals": -1}, {"totals": "yes"}, {"past_end": "first"}, {"duplicate_reference": "refuse"},
    {"instant_order_shows": "both"}, {"apply_needs_esim_id": 1}, {"event_path": "both"}, {"event_envelope": 1},
    {"usage_dates": "DD"}, {"usage_units": "GB"}, {"sms_answer": ""}, {"link_again": True}, {"refund_key": "key"},
    {"rates_envelope": None}, {"rates_need_pair": 0}, {"vouchers": "no"},
    {"voucher_packages": "esim-greece-30days-1gb-all"}, {"voucher_packages": [1]}, {"voucher_mint_limit": 0},
    {"voucher_mint_limit": 11}, {"policy_takes": -1}, {"affiliate": "a b"}, {"affiliate": "a/b"},
    {"compress": "no"}, {"latency": "1"}, {"latency": {"GET": 1}}, {"latency": {"GET /api/balance": -1}},
    {"faults": "drop"}, {"faults": ["drop"]}, {"faults": {"fault": "drop"}}, {"faults": [{"fault": "explode"}]},
]  # fmt: skip


def test_a_wrong_option_is_a_value_error_that_names_it():
    """Each option refuses what it does not know, by its own name."""
    for wrong in INVALID_OPTIONS:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Sandbox(**wrong)


def test_the_keyword_arguments_are_typed_like_the_options():
    """Names and types of the TypedDict are those of the attrs class."""
    hints = get_type_hints(Options.__init__)
    del hints["return"]
    assert get_type_hints(OptionsKw) == hints


def test_every_option_is_documented():
    """Each has a sentence, which is part of the documentation of Sandbox."""
    documentation = " ".join(Sandbox.__doc__.split())
    for option in fields(Options):
        assert option.metadata["help"].endswith((".", ")"))
        assert f"{option.name}: {option.metadata['help']}" in documentation


def test_an_unknown_option_is_a_type_error():
    """As for any keyword argument that does not exist."""
    with pytest.raises(TypeError, match="colour"):
        Sandbox(colour="blue")


def test_amounts_of_money_are_exact():
    """Dollars may be a string, an integer or a Decimal."""
    for amount in ("25.50", "25.5", Decimal("25.5")):
        assert Options(balance=amount, low_balance=amount).balance == 2550
    assert Options(balance=25).balance == 2500
