"""Claims against a model: replicas that claim, send, settle, die and wake up in any order."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import attrs
import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from support.ledgers import expire, wanted

from roamify_async.ledger import Claim, Lease, LeaseLostError, Outcome, SqliteLedger, Start, Verdict

ITEMS = [{"a": 1}, {"b": 1}]
STATES = ["ordered", "refused", "not_sent", "in_doubt"]


@attrs.define
class Model:
    """What the row of the reference should be."""

    items: dict[str, int] | None = None
    status: str = "not_sent"
    holder: Lease | None = None
    is_over: bool = False
    """Whether the lease of the holder is over."""

    def verdict(self, items: dict[str, int]) -> Verdict:
        """Return what a claim should be told."""
        is_live = self.holder is not None and not self.is_over
        is_free = self.status in {"refused", "not_sent"}
        if self.items is None:
            return Verdict.FREE
        if self.items != items and (is_live or not is_free):
            return Verdict.OTHER
        if is_live:
            return Verdict.WAIT
        if self.status == "ordered":
            return Verdict.BOUGHT
        return Verdict.FREE if is_free else Verdict.TAKE_OVER


class Claims(RuleBasedStateMachine):
    """Two replicas and one reference."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        """Open the ledger twice."""
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "purchases.db"
        self.ledgers = [SqliteLedger(path), SqliteLedger(path)]
        self.of: dict[int, SqliteLedger] = {}
        self.model = Model()
        self.loop = asyncio.new_event_loop()
        self.may_send: set[int] = set()
        """Leases that may have sent since the last outcome that was certain."""

    def run(self, work: Any) -> Any:
        """Run a coroutine."""
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        """Close everything."""
        for ledger in self.ledgers:
            ledger.close()
        self.loop.close()
        self.folder.cleanup()

    @rule(target=leases, replica=st.integers(0, 1), items=st.sampled_from(ITEMS))
    def claim(self, replica: int, items: dict[str, int]) -> Any:
        """Claim the reference; the response is that of the model."""
        ledger, model = self.ledgers[replica], self.model
        expected = model.verdict(items)
        claim: Claim = self.run(ledger.claim(wanted(packages=items)))
        assert claim.verdict is expected
        assert (claim.lease is not None) == (expected in {Verdict.FREE, Verdict.TAKE_OVER})
        if claim.lease is None:
            return hypothesis.stateful.multiple()
        if expected is Verdict.FREE:
            assert not self.may_send, "what may be booked would be bought as if it were new"
            model.items, model.status = items, "not_sent"
        model.holder, model.is_over = claim.lease, False
        self.of[id(claim.lease)] = ledger
        return claim.lease

    @rule(lease=leases)
    def start(self, lease: Lease) -> None:
        """Start to send: only the holder can."""
        try:
            self.run(self.of[id(lease)].start(lease, wanted(packages=self.model.items), Start()))
        except LeaseLostError:
            assert lease is not self.model.holder
        else:
            assert lease is self.model.holder
            self.model.status, self.model.is_over = "sending", False
            self.may_send.add(id(lease))

    @rule(lease=leases)
    def renew(self, lease: Lease) -> None:
        """Renew a lease: only the holder can, also after its time if nobody took over."""
        try:
            self.run(self.of[id(lease)].renew(lease))
        except LeaseLostError:
            assert lease is not self.model.holder
        else:
            assert lease is self.model.holder
            self.model.is_over = False

    @rule(lease=leases, status=st.sampled_from(STATES))
    def settle(self, lease: Lease, status: Any) -> None:
        """Settle: only the holder's outcome counts. Nothing is certain while another one may have sent."""
        if status in {"refused", "not_sent"} and self.may_send - {id(lease)}:
            status = "in_doubt"  # As the purchase machine does for a purchase that it took over.
        outcome = Outcome(status=status, order_id="o1" if status == "ordered" else None)
        done = self.run(self.of[id(lease)].settle(lease, outcome))
        assert done == (lease is self.model.holder)
        if done:
            self.model.holder, self.model.status = None, status
            if status != "in_doubt":
                self.may_send.clear()

    @rule()
    def lapse(self) -> None:
        """Advance the time beyond the lease."""
        if self.model.items is not None:
            self.run(expire(self.ledgers[0]))
            self.model.is_over = True

    @invariant()
    def row_is_that_of_the_model(self) -> None:
        """Each replica reads the same row, and what may be booked is never taken for new."""
        model = self.model
        for ledger in self.ledgers:
            row = ledger.get("r")
            if row is None:
                assert model.items is None
                continue
            assert (row.status, row.quantities()) == (model.status, model.items)
            assert row.is_live == (model.holder is not None and not model.is_over)
        doubts = {row.reference for ledger in self.ledgers for row in ledger.doubts()}
        is_open = model.status == "in_doubt" or (model.status == "sending" and model.is_over)
        assert doubts == ({"r"} if is_open else set())


TestClaims = Claims.TestCase
TestClaims.settings = hypothesis.settings(stateful_step_count=25)
