"""Sessions: what `SET`, `USE` and temporary tables of one client leave for its next request.

A session takes a connection only from the first statement that leaves something behind;
clients that merely name one (clickhouse-connect does, always) cost nothing.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from backchannel_deploy.endpoint.connection import Connection, apply_settings, quoted_name, run
from backchannel_deploy.endpoint.errors import ClickHouseError

__all__ = ["SESSIONS_MAX", "Sessions", "for_one_statement"]

SESSIONS_MAX = 64  # beyond it the one that was used least lately ends


@dataclass(slots=True)
class _Session:
    connection: Connection
    ends_at_s: float
    used_at_s: float
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sessions:
    """All sessions of an engine; threads may call."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._monotonic_s = monotonic_s
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    @contextmanager
    def kept(self, session_id: str, timeout_s: int, *, create: bool) -> Iterator[Connection | None]:
        """The session's connection, for one statement; None when it has none and needs none.

        Raises:
            ClickHouseError: another statement of the session is running.
        """
        session = self._take(session_id, create=create)
        if session is None:
            yield None
            return
        try:
            yield session.connection
        except ClickHouseError:
            # chDB hands what a failed statement had written already to the next one.
            run(session.connection, "SELECT 1")
            raise
        finally:
            session.used_at_s = self._monotonic_s()
            session.ends_at_s = session.used_at_s + timeout_s
            session.lock.release()

    def close(self) -> None:
        """Ends all sessions."""
        with self._lock:
            for session_id in list(self._sessions):
                self._end(session_id)

    def _take(self, session_id: str, *, create: bool) -> _Session | None:
        with self._lock:
            self._end_old()
            session = self._sessions.get(session_id)
            if session is None:
                if not create:
                    return None
                now_s = self._monotonic_s()
                session = _Session(self._connect(), now_s, now_s)
                self._sessions[session_id] = session
            if not session.lock.acquire(blocking=False):
                raise ClickHouseError.named(
                    "SESSION_IS_LOCKED", "Session is locked by a concurrent client"
                )
            return session

    def _end_old(self) -> None:
        now_s = self._monotonic_s()
        idle = {k: s for k, s in self._sessions.items() if not s.lock.locked()}
        for session_id in [k for k, s in idle.items() if s.ends_at_s < now_s]:
            self._end(session_id)
            del idle[session_id]
        if len(self._sessions) >= SESSIONS_MAX and idle:
            self._end(min(idle, key=lambda k: idle[k].used_at_s))

    def _end(self, session_id: str) -> None:
        self._sessions.pop(session_id).connection.close()


@contextmanager
def for_one_statement(
    connection: Connection, settings: Mapping[str, str], database: str, *, keep_database: bool
) -> Iterator[None]:
    """Settings and database of one request, on a connection that outlives it."""
    names = ", ".join(f"'{name}'" for name in settings if name.isidentifier())
    before: dict[str, str] = {}
    if names:
        changed = "SELECT name, value FROM system.settings WHERE changed AND name IN"
        lines = run(connection, f"{changed} ({names})", "JSONCompactEachRow").bytes().splitlines()
        before = dict(json.loads(line) for line in lines)
    home = run(connection, "SELECT currentDatabase()").bytes().decode().strip()
    try:
        if database:
            run(connection, f"USE {quoted_name(database)}")
        apply_settings(connection, settings)
        yield
    finally:
        for name in settings:
            if name in before:
                apply_settings(connection, {name: before[name]})
            elif name.isidentifier():
                run(connection, f"SET {name} = DEFAULT")
        if not keep_database:
            run(connection, f"USE {quoted_name(home)}")
