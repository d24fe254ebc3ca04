"""Where everything that a bot tells ends up: built, repaired, stamped, and given to the intake."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Self

from backchannel.clock import Clock
from backchannel.events import Event
from backchannel.experiments import Exposures
from backchannel.prices import PriceBook
from backchannel.scope import Scope, inherited
from backchannel.sending.intake import Intake, Texts
from backchannel.shaping.stamps import Stamps

__all__ = ["Outlet"]


class Outlet:
    """One view's way to the intake. Nothing here blocks or raises.

    Fields of an event come, the first that has one wins, from the event itself, from ``bind``,
    from the scopes around it (innermost first), and from the settings.
    """

    __slots__ = (
        "_settings_stamps",
        "bound",
        "clock",
        "exposures",
        "in_flight",
        "intake",
        "prices",
        "stamps",
        "user_id",
    )

    def __init__(
        self, intake: Intake, stamps: Stamps, clock: Clock, prices: PriceBook | None = None
    ) -> None:
        self.intake: Intake = intake
        self.clock: Clock = clock
        self.prices: PriceBook = prices or PriceBook()
        self.stamps: Stamps = stamps
        """Those of the settings and of ``bind``."""
        self.bound: dict[str, Any] = {}
        """The fields of ``bind`` alone."""
        self.user_id: str = ""
        """The user of ``bind`` as it was said: in ``bound`` it may be a pseudonym."""
        self.exposures: Exposures = Exposures()
        self.in_flight: deque[None] = deque()
        """As long as there are turns under way: a deque counts without a lock."""
        self._settings_stamps = stamps

    def bind(self, fields: Mapping[str, Any]) -> Self:
        """Returns a view that stamps more fields, over these."""
        view = object.__new__(type(self))
        for name in Outlet.__slots__:
            setattr(view, name, getattr(self, name))
        view.stamps, repaired = self.stamps.bind(fields)
        self.count_repaired(repaired)
        view.user_id = fields.get("user_id", self.user_id)
        stamped = view.stamps.fields()
        view.bound = {name: stamped[name] for name in (*self.bound, *fields) if name in stamped}
        return view

    def track(self, event: Event, scope: Scope | None) -> bool:
        """Gives an event that the bot made to the intake."""
        if scope is None:
            return self.intake.offer(event, self.stamps)
        try:
            stamps = self._stamps_in(scope)
        except Exception:  # noqa: BLE001  # a context of whatever: the event matters more
            stamps = self.stamps
        return self.intake.offer(event, stamps)

    def emit(self, model: type[Event], fields: dict[str, Any], texts: Texts = ()) -> bool:
        """Makes an event and gives it to the intake; what does not fit is repaired and counted."""
        return self.intake.offer_fields(model, fields, self.stamps, texts)

    def emit_in(self, scope: Scope | None, model: type[Event], fields: dict[str, Any]) -> bool:
        """Does what ``emit`` does, with the fields that the scope passes on."""
        if scope is not None:
            fields = {**inherited(scope), **self.bound, **fields}
        return self.emit(model, fields)

    def count_repaired(self, fields: int) -> None:
        """Counts fields that did not fit the contract."""
        if fields:
            self.intake.count_repaired(fields)

    def _stamps_in(self, scope: Scope) -> Stamps:
        """Returns the stamps of an event under a scope. Making them costs more than all the rest,
        so the scope remembers those of its last event."""
        fields = {**inherited(scope), **self.bound}
        memo = scope.memo
        if memo is not None and memo[0] is self.stamps and memo[1] == fields:
            known: Stamps = memo[2]
            return known
        stamps, repaired = self._settings_stamps.bind(fields)
        self.count_repaired(repaired)
        scope.memo = (self.stamps, fields, stamps)
        return stamps
