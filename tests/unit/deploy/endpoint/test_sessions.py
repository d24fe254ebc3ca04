"""Sessions: when they are made, locked, and ended."""

from collections.abc import Mapping
from typing import Never

import pytest

from backchannel_deploy.endpoint.errors import ClickHouseError
from backchannel_deploy.endpoint.sessions import SESSIONS_MAX, Sessions


class OpenConnection:
    """Counts; the engine itself is met in the contract tests."""

    def __init__(self) -> None:
        self.closed = False

    def query(self, sql: str | bytes, fmt: str, params: Mapping[str, str] | None = None) -> Never:
        raise AssertionError(sql)

    def send_query(
        self, sql: str | bytes, fmt: str, params: Mapping[str, str] | None = None
    ) -> Never:
        raise AssertionError(sql)

    def close(self) -> None:
        self.closed = True


class Now:
    """Time, which stands still until it is moved."""

    s = 0.0

    def __call__(self) -> float:
        return self.s


def make() -> tuple[Sessions, Now, list[OpenConnection]]:
    made: list[OpenConnection] = []

    def connect() -> OpenConnection:
        made.append(OpenConnection())
        return made[-1]

    now = Now()
    return Sessions(connect, now), now, made


def use(sessions: Sessions, session_id: str, *, create: bool = True) -> object:
    with sessions.kept(session_id, 60, create=create) as connection:
        return connection


def test_a_session_that_keeps_nothing_has_no_connection() -> None:
    sessions, _, made = make()
    assert use(sessions, "a", create=False) is None
    assert made == []


def test_a_session_keeps_its_connection() -> None:
    sessions, _, _ = make()
    assert use(sessions, "a") is use(sessions, "a", create=False)
    assert use(sessions, "a") is not use(sessions, "b")


def test_an_idle_session_ends_after_its_time() -> None:
    sessions, now, made = make()
    use(sessions, "a")
    now.s += 61
    assert use(sessions, "a", create=False) is None
    assert made[0].closed


def test_a_session_in_use_is_locked() -> None:
    sessions, _, _ = make()
    with (
        sessions.kept("a", 60, create=True),
        pytest.raises(ClickHouseError, match="SESSION_IS_LOCKED"),
    ):
        use(sessions, "a")


def test_the_number_of_sessions_is_bounded() -> None:
    sessions, now, made = make()
    for number in range(SESSIONS_MAX + 1):
        now.s += 0.1
        use(sessions, str(number))
    assert [connection.closed for connection in made] == [True] + [False] * SESSIONS_MAX
