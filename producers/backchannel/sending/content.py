"""Prompts and replies, where a bot opts in: their own buffer, batches and topic, never the events'.

Text is large and may be lost before a number is, so it has a buffer of its own with a bound of its
own. It passes the same masking point as everything else.
"""

from typing import Any, get_args

from pydantic_core import to_json

from backchannel.events import LINE_BYTES_MAX, Content
from backchannel.sending.intake import Intake, Texts
from backchannel.sending.stats import ContentStats
from backchannel.sending.transport import Transport
from backchannel.shaping.encoding import Fields
from backchannel.shaping.privacy import Privacy
from backchannel.shaping.stamps import Stamps

__all__ = ["ContentIntake"]

_PARTS: tuple[str, ...] = get_args(Content.model_fields["part"].annotation)
_OF_ITS_EVENT = ("tenant_id", "user_id", "conversation_id")


class ContentIntake:
    """Where content enters. Safe in any thread; nothing here blocks or raises."""

    def __init__(
        self, intake: Intake, transport: Transport, privacy: Privacy, chars_max: int
    ) -> None:
        self.intake = intake
        """Its buffer, of which the sender takes."""
        self.transport = transport
        """Where the sender sends it."""
        self._privacy = privacy
        self._chars_max = chars_max

    def offer(self, fields: Fields, stamps: Stamps, texts: Texts) -> None:
        """Takes the texts of an event that was accepted, whose fields these are."""
        try:
            key = stamps.partition_key(fields)
            shared: dict[str, Any] = {
                "event_id": fields["event_id"],
                "ts_us": fields["ts_us"],
            }
            for name in _OF_ITS_EVENT:
                if value := stamps.value(name, fields, ""):
                    shared[name] = value
        except Exception:  # noqa: BLE001  # whatever the fields are, the bot goes on
            self.intake.count_invalid()
            return
        seen: dict[str, int] = {}
        for part, text in texts:
            try:
                index = seen.get(part, 0)
                seen[part] = index + 1
                self._take_in(key, {**shared, "part": part, "part_index": index}, text)
            except Exception:  # noqa: BLE001  # no text at all, or no part of the contract
                self.intake.count_invalid()

    def stats(self) -> ContentStats:
        """Returns what became of every text, as of now."""
        counts = self.intake.stats()
        return ContentStats(
            offered=counts.offered,
            acked=counts.acked,
            held=counts.held,
            dropped=counts.dropped,
        )

    def _take_in(self, key: str, line: dict[str, Any], text: str) -> None:
        if line["part"] not in _PARTS or not isinstance(text, str):
            raise ValueError("not a text, or not a part of the contract")
        masked = self._privacy.mask_text(text[: self._chars_max])
        line["text"] = masked[: self._chars_max].encode("utf-8", "replace").decode()
        if len(text) > self._chars_max or len(masked) > self._chars_max:
            line["truncated"] = True
        if not line["part_index"]:
            del line["part_index"]
        encoded = to_json(line)
        while len(encoded) > LINE_BYTES_MAX:  # control characters take six bytes each
            line["text"] = line["text"][: len(line["text"]) // 2]
            line["truncated"] = True
            encoded = to_json(line)
        self.intake.offer_line(key, encoded)
