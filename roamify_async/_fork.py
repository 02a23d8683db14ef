"""Objects that start anew in a forked process, which has neither the threads nor the event loops of its parent."""

import os
import weakref
from typing import Protocol


class Renewable(Protocol):
    """An object that holds something of its process, such as a thread or a socket."""

    def renew(self) -> None:
        """Drop what belongs to the parent process, without touching it."""
        ...


_instances: "weakref.WeakSet[Renewable]" = weakref.WeakSet()
_pid = os.getpid()


def renew_in_children(instance: Renewable) -> None:
    """Call *instance*'s ``renew`` in each forked process, as long as the instance lives."""
    _instances.add(instance)


def check_process() -> None:
    """Renew all instances if this process was forked without Python's hooks, as the workers of uWSGI are."""
    if os.getpid() != _pid:
        _renew_all()


def _renew_all() -> None:
    global _pid  # noqa: PLW0603 -- the process that the instances belong to is a fact of the module
    _pid = os.getpid()
    for instance in [*_instances]:
        instance.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
