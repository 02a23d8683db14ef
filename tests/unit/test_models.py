"""Values: what they are beyond their fields."""

import copy
import pickle

import pytest

import roamify_async
from roamify_async import Esim, EsimStatus, Profile


@pytest.mark.parametrize("name", ["EsimStatus", "OrderStatus", "EventStatus", "PolicyStatus", "VoucherStatus"])
def test_unknown_states_can_be_copied(name):
    """An unknown state can be pickled with every protocol, copied and deep-copied; so can a known one."""
    kind = getattr(roamify_async, name)
    for state in (kind("SOMETHING_NEW"), *kind):
        copies = [pickle.loads(pickle.dumps(state, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
        for other in (*copies, copy.copy(state), copy.deepcopy(state), copy.deepcopy([state])[0]):
            assert type(other) is kind
            assert other == state
            assert (str(other), other.name, other.value) == (str(state), state.name, state.value)


@pytest.mark.parametrize("status", EsimStatus)
def test_is_installable(status):
    """An eSIM can be installed once its profile is generated, until it is revoked or expires."""
    installable = status not in {EsimStatus.NEW, EsimStatus.REVOKED, EsimStatus.EXPIRED}
    assert Esim(id="e", status=status, esim=Profile(lpa_code="LPA:1$host$code")).is_installable is installable
    assert not Esim(id="e", status=status).is_installable
