"""Ports are the same from run to run, unless somebody else has them."""

import socket
from collections.abc import Iterator

import pytest

from backchannel_deploy.up.ports import choose_ports, port_is_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_remembered_port_is_taken_again() -> None:
    first = choose_ports({"kafka": 0}, {})
    assert choose_ports({"kafka": 0}, first) == first


def test_a_remembered_port_wins_over_the_preferred_one() -> None:
    remembered, preferred = choose_ports({"a": 0, "b": 0}, {}).values()
    assert choose_ports({"kafka": preferred}, {"kafka": remembered}) == {"kafka": remembered}


def test_another_port_is_chosen_when_the_preferred_one_is_taken(taken: int) -> None:
    chosen = choose_ports({"kafka": taken}, {})["kafka"]
    assert chosen not in (0, taken)


def test_the_preferred_port_helps_when_the_remembered_one_is_taken(taken: int) -> None:
    preferred = choose_ports({"kafka": 0}, {})["kafka"]
    assert choose_ports({"kafka": preferred}, {"kafka": taken}) == {"kafka": preferred}


def test_two_names_never_get_the_same_port() -> None:
    port = choose_ports({"any": 0}, {})["any"]
    chosen = choose_ports({"kafka": port, "clickhouse": port}, {})
    assert len(set(chosen.values())) == 2


def test_a_port_with_a_listener_is_not_free(taken: int) -> None:
    assert not port_is_free(taken)
