"""A conversation under way: its turns are numbered, its tokens and cost add up."""

import threading
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from backchannel.metering import dollars
from backchannel.outlet import Outlet
from backchannel.scope import Context, OpenConversation, current_scope
from backchannel.turn import Turn

__all__ = ["Conversation"]


class Conversation(Context):
    """Turns of one conversation: a block around them, or an object that is kept between them.

    What is tracked inside ``with conversation:`` has its ids; each turn that begins inside, or by
    ``conversation.interaction()``, gets the next number, and when it ends its tokens and cost are
    added. May be entered again for each message; safe in any thread and task.
    """

    __slots__ = ("_cost_known", "_lock", "_outlet", "_picousd", "_tokens", "_turns")

    def __init__(self, outlet: Outlet, fields: dict[str, Any], turns: int = 0) -> None:
        super().__init__(fields)
        self._outlet = outlet
        self._lock = threading.RLock()
        self._turns = turns if isinstance(turns, int) else 0
        self._tokens = {"input_tokens": 0, "output_tokens": 0}
        self._picousd = 0
        self._cost_known = True

    def interaction(self, **fields: Any) -> Turn:
        """Opens the next turn, as ``Producer.interaction`` does."""
        return Turn(self._outlet, fields, self.scope(current_scope()))

    @property
    def turns(self) -> int:
        """Turns so far, the one under way included."""
        return self._turns

    @property
    def input_tokens(self) -> int:
        """Tokens in, of the turns that have ended."""
        return self._tokens["input_tokens"]

    @property
    def output_tokens(self) -> int:
        """Tokens out, of the turns that have ended."""
        return self._tokens["output_tokens"]

    @property
    def cost(self) -> Decimal | None:
        """What its ended turns cost, in dollars; ``None`` if the cost of any is not known."""
        return dollars({"cost_picousd": self._picousd}) if self._cost_known else None

    # For its turns.

    @property
    def conversation(self) -> OpenConversation:
        return self

    def next_turn(self, given: Any) -> int:
        """Returns the number of a turn that begins: the one that was given, else the next."""
        with self._lock:
            self._turns = given if isinstance(given, int) and given > 0 else self._turns + 1
            return self._turns

    def count_turn(self, fields: Mapping[str, Any]) -> None:
        """Adds what a turn used."""
        with self._lock:
            for name in self._tokens:
                count = fields.get(name)
                self._tokens[name] += count if isinstance(count, int) else 0
            picousd = fields.get("cost_picousd")
            if isinstance(picousd, int):
                self._picousd += picousd
            elif fields.get("cost_status"):
                self._cost_known = False
