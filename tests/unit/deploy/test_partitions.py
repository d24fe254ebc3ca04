"""How many partitions topics are created with, and which numbers go together."""

import pytest

from backchannel_deploy.partitions import as_cut, cut_wrongly, to_grow
from backchannel_deploy.topics import all_topics

CHOSEN = 3
CUT = {topic.name: topic.partitions for topic in as_cut(all_topics(), {}, CHOSEN)}
SOURCES = ("chat.events", "backchannel-processors-windows-changelog")
MERGES = ("chat.partials", "backchannel-processors-merge-changelog", "chat.metrics", "chat.alerts")


def test_what_is_counted_gets_the_chosen_number_and_what_is_read_whole_has_one() -> None:
    counted = {*SOURCES, *MERGES, "chat.content"}

    assert {name for name, count in CUT.items() if count == CHOSEN} == counted
    assert {count for name, count in CUT.items() if name not in counted} == {1}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"chat.events": 12}, {SOURCES[1]: 12, "chat.content": 12, "chat.partials": 12}),
        (dict.fromkeys(SOURCES, 24) | {"chat.partials": 12}, {"chat.metrics": 12}),
        ({"chat.alerts": 12}, {"chat.events": 12, "chat.metrics": 12}),
        ({"chat.control": 1}, {"chat.events": CHOSEN}),
    ],
)
def test_what_is_missing_gets_as_many_as_what_it_goes_together_with(
    found: dict[str, int], expected: dict[str, int]
) -> None:
    cut = {topic.name: topic.partitions for topic in as_cut(all_topics(), found, CHOSEN)}

    assert expected.items() <= cut.items()


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({}, []),
        (dict.fromkeys(SOURCES, 24), []),
        (dict.fromkeys(MERGES, 5), []),
        ({"chat.content": 24}, []),
        ({"chat.events": 24}, [f"chat.events has 24, {SOURCES[1]} has 3"]),
        ({"chat.metrics": 4}, ["chat.metrics has 4"]),
        ({"chat.control": 3}, ["chat.control has 3 partitions, not 1"]),
    ],
)
def test_topics_that_go_together_need_the_same_number(
    changed: dict[str, int], wrong: list[str]
) -> None:
    told = cut_wrongly(all_topics(), CUT | changed)

    assert len(told) == len(wrong)
    assert all(part in sentence for part, sentence in zip(wrong, told, strict=True))


@pytest.mark.parametrize(
    ("found", "grown"),
    [
        ({}, {"chat.events": 6, SOURCES[1]: 6, "chat.content": 6}),
        (dict.fromkeys(SOURCES, 6), {"chat.content": 6}),
        ({SOURCES[1]: 6}, {"chat.events": 6, "chat.content": 6}),
        ({"chat.events": 24}, {SOURCES[1]: 24, "chat.content": 6}),
        (dict.fromkeys((*SOURCES, "chat.content"), 24), {}),
    ],
)
def test_more_partitions_are_for_events_and_what_goes_with_them(
    found: dict[str, int], grown: dict[str, int]
) -> None:
    assert to_grow(CUT | found, 6) == grown
