"""By what windows are grouped: names of dimensions, and the series that have values for them."""

from collections.abc import Sequence
from dataclasses import dataclass

from backchannel_processors.measures import OTHER

__all__ = ["DIMENSIONS", "Dims", "Grouping", "Groupings", "series_key"]

DIMENSIONS = ("tenant", "endpoint", "model")
"""Every dimension there is, in the order in which groupings name them."""

Dims = tuple[str, ...]
"""Values of dimensions, in the order of their names."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """Some dimensions: ``tenant,endpoint,model``, or none for everything together."""

    dimensions: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Grouping":
        """Reads comma-separated names of dimensions.

        Raises:
            ValueError: a name is unknown, stands twice or in another order.
        """
        names = tuple(name.strip() for name in text.split(",")) if text.strip() else ()
        if names != tuple(name for name in DIMENSIONS if name in names):
            raise ValueError(
                f"grouping {text!r}: name some of {', '.join(DIMENSIONS)} in this order, once each"
            )
        return cls(names)

    @property
    def name(self) -> str:
        return ",".join(self.dimensions)


@dataclass(frozen=True, slots=True)
class Groupings:
    """The configured groupings. Events are counted in their finest cell; groupings are its sums."""

    all: tuple[Grouping, ...]

    @classmethod
    def parse(cls, texts: Sequence[str]) -> "Groupings":
        """Reads groupings, each as ``Grouping.parse`` does.

        Raises:
            ValueError: there is none, or one is wrong or stands twice.
        """
        groupings = tuple(Grouping.parse(text) for text in texts)
        if not groupings or len(set(groupings)) != len(groupings):
            raise ValueError("name at least one grouping, and each only once")
        return cls(groupings)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(grouping.name for grouping in self.all)

    @property
    def finest(self) -> tuple[str, ...]:
        """Every dimension that a grouping names."""
        named = {name for grouping in self.all for name in grouping.dimensions}
        return tuple(name for name in DIMENSIONS if name in named)

    def projections(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Returns for each grouping its name and where its values stand in the finest dims."""
        finest = self.finest
        return tuple(
            (grouping.name, tuple(finest.index(name) for name in grouping.dimensions))
            for grouping in self.all
        )

    def without_room(self, dims: Dims, *, keep_tenant: bool) -> Dims:
        """Returns the cell for events of ``dims`` when there is no room for a cell of their own."""
        return tuple(
            value if keep_tenant and name == "tenant" else OTHER
            for name, value in zip(self.finest, dims, strict=True)
        )


def series_key(grouping: str, dims: Dims) -> str:
    """Returns the text that stands for a series everywhere: its partition follows from it."""
    return "\x1f".join((grouping, *dims))
