"""Fixtures of several modules of this folder."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def frozen_heap() -> Iterator[None]:
    """Keep older objects out of each collection; otherwise the modules that collect often are slow."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
