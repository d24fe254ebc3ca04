"""Which topics may have more partitions than usual."""

import pytest

from backchannel_deploy.topics import all_topics, wrongly_cut

USUAL = {topic.name: topic.partitions for topic in all_topics()}
SOURCES = ("chat.events", "backchannel-processors-windows-changelog")


@pytest.mark.parametrize(
    ("partitions", "wrong"),
    [
        ({}, set()),
        (dict.fromkeys(SOURCES, 24), set()),
        ({"chat.content": 24}, set()),
        ({"chat.events": 24}, {"chat.events"}),
        ({SOURCES[0]: 24, SOURCES[1]: 18}, set(SOURCES)),
        (dict.fromkeys(SOURCES, 6), set(SOURCES)),
        ({"chat.partials": 24}, {"chat.partials"}),
    ],
)
def test_events_may_grow_with_the_changelog_of_their_windows(
    partitions: dict[str, int], wrong: set[str]
) -> None:
    assert {topic.name for topic in wrongly_cut(all_topics(), USUAL | partitions)} == wrong
