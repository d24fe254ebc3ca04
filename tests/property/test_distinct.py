"""Registers of distinct ids are the same however the ids are divided, and wherever they were."""

from collections import defaultdict
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh64_intdigest

from backchannel_processors.distinct import Registers, marks_of
from backchannel_processors.errors import StateError
from backchannel_processors.measures import Measures
from backchannel_processors.partials import open_measures, seal_measures

crowds = st.lists(st.tuples(st.integers(0, 500), st.sampled_from((0, 1, 60, 70, 300))), max_size=5)
"""From which number on, and how many: nobody, one, nearly and just over what is held as marks,
and many."""


def ids_of(first: int, count: int) -> list[str]:
    return [f"user-{number}" for number in range(first, first + count)]


def registers_of(ids: list[str]) -> Registers:
    registers = Registers()
    registers.take(marks_of(ids))
    return registers


def by_hand(ids: list[str]) -> dict[int, int]:
    """The first 12 bits of the hash name the register, the zeros before the next 1 the rank."""
    ranks: dict[int, int] = defaultdict(int)
    for each in ids:
        bits = f"{xxh64_intdigest(each.encode()):064b}"
        rank = bits[12:].find("1") + 1 or 53
        ranks[int(bits[:12], 2)] = max(ranks[int(bits[:12], 2)], rank)
    return dict(sorted(ranks.items()))


@given(crowds, st.randoms(use_true_random=False))
def test_registers_are_the_same_in_any_order_and_however_they_are_united(
    crowd: list[tuple[int, int]], chance: Random
) -> None:
    groups = [ids_of(first, count) for first, count in crowd]
    everybody = [each for group in groups for each in group]
    states = [registers_of(group) for group in groups]
    chance.shuffle(states)
    united = Registers()
    for state in states:
        united.unite(state)
    assert united == registers_of(everybody)
    assert list(united.ranks.items()) == list(by_hand(everybody).items())


@given(crowds)
def test_to_unite_registers_leaves_the_others_alone(crowd: list[tuple[int, int]]) -> None:
    states = [registers_of(ids_of(first, count)) for first, count in crowd]
    united = Registers()
    for state in states:
        united.unite(state)
    united.take(marks_of(ids_of(10_000, 300)))
    assert states == [registers_of(ids_of(first, count)) for first, count in crowd]


@pytest.mark.parametrize("users", [0, 1, 64, 65, 30_000])
def test_registers_come_back_as_they_were_sealed(users: int) -> None:
    registers = registers_of(ids_of(0, users))
    sealed = seal_measures(Measures(distinct={"users": registers}))
    assert open_measures(sealed).distinct == {"users": registers}


@pytest.mark.parametrize("sealed", ["AAAA", "not base64!", "AwA=", 7, ["x"]])
def test_what_are_no_registers_is_no_state(sealed: object) -> None:
    whole = msgspec.json.decode(seal_measures(Measures(distinct={"users": Registers()})))
    whole[6]["users"] = sealed
    with pytest.raises(StateError):
        open_measures(msgspec.Raw(msgspec.json.encode(whole)))


@pytest.mark.parametrize("users", [0, 1, 50, 3_000, 30_000])
def test_distinct_users_are_estimated_within_five_percent(users: int) -> None:
    assert registers_of(ids_of(0, users)).estimate == pytest.approx(users, rel=0.05)


def test_the_empty_id_is_nobody() -> None:
    assert not registers_of(["", ""]).ranks
