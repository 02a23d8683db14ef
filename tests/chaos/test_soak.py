"""The program that uses clients for a long time: a short run is flat, and what leaks is found."""

import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from tests.chaos.soak import Sample, judge

ROOT = Path(__file__).parents[2]
SAMPLE = Sample(descriptors=30, threads=9, tasks=1, blocks=200_000, heap=20.0, rss=60.0)


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the program in a process of its own, in which nothing else grows."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.chaos.soak", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


running = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not tell what a process holds")


@pytest.mark.long
@pytest.mark.timeout(300)
@running
def test_a_short_run_is_flat():
    """Under faults and cancellations, with clients dropped each second, nothing grows."""
    ended = run("--seconds", "20", "--round", "1")
    assert ended.returncode == 0, ended.stdout


@pytest.mark.long
@pytest.mark.timeout(300)
@running
def test_clients_that_are_kept_are_found():
    """Control: where the dropped clients are kept, the program says that descriptors and threads grow."""
    ended = run("--seconds", "20", "--round", "1", "--keep-clients")
    assert ended.returncode == 1
    assert "WRONG: descriptors grew" in ended.stdout


def test_noise_is_no_growth():
    """What goes up and down, or grows while the program warms up, is flat."""
    noise = [attrs.evolve(SAMPLE, descriptors=30 + n % 5, threads=9 + n % 2, blocks=200_000 + n % 7) for n in range(40)]
    warm_up = [attrs.evolve(SAMPLE, descriptors=3, threads=1, blocks=n, rss=n) for n in range(10)]
    assert judge(noise) == judge(warm_up + noise[:30]) == []


@pytest.mark.parametrize("name", ["descriptors", "threads", "tasks", "blocks", "heap", "rss"])
def test_growth_is_found(name):
    """Steady growth is found in each of the figures."""
    step = {"descriptors": 1, "threads": 1, "tasks": 1, "blocks": 1_000, "heap": 0.5, "rss": 1.0}[name]
    growing = [attrs.evolve(SAMPLE, **{name: getattr(SAMPLE, name) + n * step}) for n in range(40)]
    (wrong,) = judge(growing)
    assert wrong.startswith(f"{name} grew from")
