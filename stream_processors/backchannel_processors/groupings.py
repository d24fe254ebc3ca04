"""By what windows are grouped: names of dimensions, and the series that have values for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from backchannel_processors.measures import OTHER

__all__ = ["DIMENSIONS", "Dims", "Grouping", "Groupings", "other_of", "series_key"]

DIMENSIONS = ("tenant", "endpoint", "model", "experiment", "variant", "user")
"""Every dimension there is, in the order in which groupings name them."""

_FIELDS = {
    "tenant": "tenant_id",
    "endpoint": "endpoint",
    "model": "model",
    "experiment": "experiment_id",
    "variant": "variant",
    "user": "user_id",
}
"""The field of an observation that has the value of a dimension."""

Dims = tuple[str, ...]
"""Values of dimensions, in the order of their names."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """Some dimensions: ``tenant,endpoint,model``, or none for everything together."""

    dimensions: tuple[str, ...]
    series_max: int | None = None
    """Series of one window in one source partition; ``None`` for the bound of all groupings."""

    @classmethod
    def parse(cls, text: str) -> "Grouping":
        """Reads comma-separated names of dimensions, and a bound on series behind a colon:
        ``tenant,user:50000``.

        Raises:
            ValueError: a name is unknown, stands twice or in another order; the bound is no number.
        """
        named, colon, most = text.partition(":")
        names = tuple(name.strip() for name in named.split(",")) if named.strip() else ()
        if names != tuple(name for name in DIMENSIONS if name in names):
            raise ValueError(
                f"grouping {text!r}: name some of {', '.join(DIMENSIONS)} in this order, once each"
            )
        if colon and (not most.strip().isdecimal() or int(most) < 1):
            raise ValueError(
                f"grouping {text!r}: behind the colon goes the largest number of series"
            )
        return cls(names, int(most) if colon else None)

    @property
    def name(self) -> str:
        return ",".join(self.dimensions)

    @property
    def is_whole(self) -> bool:
        """It has no bound, so that its sums are always whole: everything together, and tenants."""
        return self.dimensions in ((), ("tenant",))


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
        if not groupings or len({each.dimensions for each in groupings}) != len(groupings):
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

    def dims_of(self) -> Callable[[object], Dims]:
        """Returns what finds the finest dims of an observation."""
        fields = [_FIELDS[name] for name in self.finest]
        match fields:
            case []:
                return lambda _: ()
            case [field]:
                value_of = attrgetter(field)
                return lambda observed: (value_of(observed),)
            case _:
                return attrgetter(*fields)

    def projections(self) -> tuple[tuple[Grouping, tuple[int, ...]], ...]:
        """Returns for each grouping where its values stand in the finest dims."""
        finest = self.finest
        return tuple(
            (grouping, tuple(finest.index(name) for name in grouping.dimensions))
            for grouping in self.all
        )

    def cells_of(self, dims: Dims) -> list[Dims]:
        """Returns the cells that events of ``dims`` may be counted in, as room allows: the most
        telling one first, then without the user, with the tenant alone, and one for everything."""
        without_user = _kept(self.finest, dims, lambda name: name != "user")
        tenant_alone = _kept(self.finest, dims, lambda name: name == "tenant")
        return list(dict.fromkeys((dims, without_user, tenant_alone, (OTHER,) * len(dims))))


def other_of(grouping: Grouping, dims: Dims) -> Dims:
    """Returns the series that stands for those of a grouping that there is no room for: one for
    each tenant, where the grouping has it."""
    return _kept(grouping.dimensions, dims, lambda name: name == "tenant")


def _kept(names: Sequence[str], dims: Dims, keep: Callable[[str], bool]) -> Dims:
    return tuple(value if keep(name) else OTHER for name, value in zip(names, dims, strict=True))


def series_key(grouping: str, dims: Dims) -> str:
    """Returns the text that stands for a series everywhere: its partition follows from it."""
    return "\x1f".join((grouping, *dims))
