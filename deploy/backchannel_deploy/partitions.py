"""How many partitions the topics have: chosen when they are created, and the same in all topics
that go together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from backchannel.events.topics import CONTENT, EVENTS, Topic
from backchannel_processors.topics import MERGES, SOURCES

__all__ = ["PartitionSettings", "Partitions", "as_cut", "cut_wrongly", "to_grow"]

Partitions = Annotated[int, Field(ge=1, le=1_000)]

_GROUPS = (SOURCES, MERGES, (CONTENT.name,))
"""Topics of a group have the same number of partitions: the states of some lie beside others."""


class PartitionSettings(BaseSettings):
    """What `backchannel migrate` can be told of partitions."""

    model_config = SettingsConfigDict(env_prefix="BACKCHANNEL_", frozen=True, extra="ignore")

    partitions: Partitions | None = None
    """How many the topics are created with, and ``chat.events`` is given if it has fewer: as many
    workers can share the work."""


def as_cut(topics: Iterable[Topic], found: Mapping[str, int], chosen: int) -> tuple[Topic, ...]:
    """Returns the topics with the partitions that they are to be created with.

    What exists decides: a topic gets as many as those that it goes together with, else as many as
    ``chat.events`` has; ``chosen`` is for where there is nothing yet. ``found`` are the partitions
    of the topics that exist.
    """
    everywhere = (EVENTS.name, *(name for group in _GROUPS for name in group))

    def cut(topic: Topic) -> Topic:
        group = _group(topic.name)
        if not group:
            return topic
        known = (found[name] for name in (*group, *everywhere) if name in found)
        return replace(topic, partitions=next(known, chosen))

    return tuple(map(cut, topics))


def to_grow(found: Mapping[str, int], at_least: int) -> dict[str, int]:
    """Returns the topics that are to be given more partitions, with their new number: those of
    events, in the order in which it is to be done.

    What belongs to them is never behind what they have already, so that half of it, done by
    somebody who was killed, is mended when it is done again.
    """
    count = max(at_least, *(found.get(name, 0) for name in SOURCES))
    # The changelog first: a partition of events never is without a place for its states.
    wanted = dict.fromkeys(reversed(SOURCES), count) | {CONTENT.name: at_least}
    return {name: count for name, count in wanted.items() if 0 < found.get(name, 0) < count}


def cut_wrongly(topics: Sequence[Topic], found: Mapping[str, int]) -> list[str]:
    """Returns in a sentence each, without its full stop, what of the partitions that were found
    cannot be worked with."""
    told = []
    for group in _GROUPS:
        counts = {name: found[name] for name in group if name in found}
        if len(set(counts.values())) > 1:
            each = ", ".join(f"{name} has {count}" for name, count in counts.items())
            told.append(f"These topics need the same number of partitions: {each}")
    return told + [
        f"{topic.name} has {found[topic.name]} partitions, not {topic.partitions}"
        for topic in topics
        if not _group(topic.name) and found.get(topic.name, topic.partitions) != topic.partitions
    ]


def _group(name: str) -> tuple[str, ...]:
    return next((group for group in _GROUPS if name in group), ())
