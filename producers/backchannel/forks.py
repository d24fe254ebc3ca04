"""A forked child of a bot: its producers begin anew, and leave to the parent what is the parent's.

A fork copies the memory and one thread. So the child has the parent's events but not the thread
that sends them, and the parent's sockets, on which it must not write a byte.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet

__all__ = ["at_end_of_child", "keep_inherited", "restart_in_children", "whole_import"]


class _Restarts(Protocol):
    def restart_in_child(self) -> None: ...


_IMPORT_TIMEOUT_S = 5.0
"""How long a fork waits at most for an import of ours that is under way."""

_producers: WeakSet[_Restarts] = WeakSet()
_inherited: list[object] = []
_hooked = False
_importing = threading.RLock()
_fork_waited = False


def restart_in_children(producer: _Restarts) -> None:
    """Calls ``restart_in_child`` in every process that this one forks from now on."""
    global _hooked
    _producers.add(producer)
    if not _hooked and hasattr(os, "register_at_fork"):
        _hooked = True
        os.register_at_fork(
            before=_begin_fork, after_in_parent=_end_fork, after_in_child=_restart_all
        )


@contextmanager
def whole_import() -> Iterator[None]:
    """Holds off forks while a thread of ours imports something: the child would find half of a
    module, or wait for ever for the thread that was to finish it."""
    with _importing:
        yield


def keep_inherited(parts: object) -> None:
    """Keeps what belongs to the parent from ever being collected here: a loop that is collected
    takes its sockets out of the epoll that it shares with the parent."""
    _inherited.append(parts)


def at_end_of_child(end: Callable[..., None]) -> None:
    """Calls ``end`` when this process ends, if ``multiprocessing`` or Celery forked it: such a
    process leaves without ``atexit``, of ``multiprocessing`` before Python 3.13."""
    celery = sys.modules.get("celery.signals")
    if celery is not None:  # sent in the children of the pool alone, with arguments by name
        celery.worker_process_shutdown.connect(end)
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, end, exitpriority=100)


def _begin_fork() -> None:
    global _fork_waited
    _fork_waited = _importing.acquire(timeout=_IMPORT_TIMEOUT_S)


def _end_fork() -> None:
    if _fork_waited:
        _importing.release()


def _restart_all() -> None:
    global _importing
    _importing = threading.RLock()
    for producer in list(_producers):
        producer.restart_in_child()
