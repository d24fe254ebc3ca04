"""The one point at which events lose what nobody downstream should see, before they are bytes.

Every event passes it, whichever way it came in, and so does content. Free text is masked; ids of
people become pseudonyms if there is a key. Numbers, names and other ids stay as they are.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Annotated, Any, get_args, get_origin

from backchannel.events import EVENT_TYPES
from backchannel.shaping.encoding import Fields
from backchannel.shaping.pseudonyms import Pseudonyms

__all__ = ["FREE_TEXT", "IDENTITIES", "Mask", "Privacy"]

Mask = Callable[[str], str]
"""A bot's own hook: takes a text, returns what may be sent of it. Called in the bot's thread."""

IDENTITIES = ("user_id", "distinct_id", "principal_hash", "source_ip_hash", "subject_key")
"""Fields that name a person. ``subject_key`` only where the subject is a user."""

_LABEL_LENGTH = 256
"""What may be longer is free text; up to here it is a name or an id."""


class Privacy:
    """What is done to the fields of an event. Safe in any thread; raises nothing."""

    __slots__ = ("_hook", "_in_hook", "_patterns", "_pseudonyms", "failed", "texts")

    def __init__(
        self,
        *,
        patterns: bool = True,
        hook: Mask | None = None,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        self._patterns = _patterns() if patterns else None
        self._hook = hook
        self._in_hook = threading.local()
        self._pseudonyms = pseudonyms
        self.failed: Callable[[], None] = lambda: None
        """Called when the hook failed, from the thread that offers."""
        self.texts: frozenset[str] = frozenset(FREE_TEXT if patterns or hook is not None else ())
        """Fields that ``mask`` has to see if an event says them. Most events say none."""

    @property
    def pseudonymises(self) -> bool:
        """Whether there is a key."""
        return self._pseudonyms is not None

    def pseudonymise(self, fields: Fields) -> None:
        """Puts pseudonyms in the place of ids of people."""
        if self._pseudonyms is None:
            return
        for name in IDENTITIES:
            if name in fields and (name != "subject_key" or fields.get("subject") == "user"):
                fields[name] = self._pseudonyms.of(fields[name])

    def mask(self, fields: Fields) -> None:
        """Masks the free text of an event. Text whose mask fails is left out, and counted."""
        for name in self.texts.intersection(fields):
            masked = _cut(self._masked(fields[name]), FREE_TEXT[name])
            if masked:
                fields[name] = masked
            else:
                del fields[name]

    def mask_text(self, text: str) -> str:
        """Masks one text; empty if the mask fails, which is counted. What a hook itself tells has
        no text: it would have to pass the hook."""
        try:
            if self._patterns is not None:
                text = self._patterns(text)
            if self._hook is not None:
                text = self._hooked(self._hook, text)
        except Exception:  # noqa: BLE001  # a bot's own code: no text goes out that it did not pass
            self.failed()
            return ""
        return text

    def _hooked(self, hook: Mask, text: str) -> str:
        if getattr(self._in_hook, "now", False):
            raise RecursionError("the hook tells something: its text would need the hook again")
        self._in_hook.now = True
        try:
            text = hook(text)
        finally:
            self._in_hook.now = False
        text.encode()  # half a surrogate pair could not be sent
        return text

    def _masked(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: masked for name, each in value.items() if (masked := self.mask_text(each))
            }
        return self.mask_text(value)


def _patterns() -> Mask:
    from backchannel.shaping.masking import mask_text  # its patterns take time to compile

    return mask_text


def _cut(value: Any, length_max: int) -> Any:
    """A mask may be longer than what it stands for."""
    if isinstance(value, dict):
        return {name: text[:length_max] for name, text in value.items()}
    return value[:length_max]


def _free_text() -> dict[str, int]:
    """The fields for free text, of every type of event, with their length in characters."""
    found: dict[str, int] = {}
    for model in EVENT_TYPES.values():
        for name, field in model.model_fields.items():
            length = _length(field.annotation, field.metadata)
            if length > _LABEL_LENGTH:
                found[name] = length
    return found


def _length(annotation: Any, metadata: Iterable[Any]) -> int:
    """How long a string may be, or a value of a dict of strings; 0 for everything else."""
    if get_origin(annotation) is dict:
        _, of_value = get_args(annotation)
        return _length(*_bare(of_value))
    if annotation is not str:
        return 0
    return max((getattr(each, "max_length", None) or 0 for each in metadata), default=0)


def _bare(annotation: Any) -> tuple[Any, Iterable[Any]]:
    if get_origin(annotation) is Annotated:
        return annotation.__origin__, annotation.__metadata__
    return annotation, ()


FREE_TEXT = _free_text()
"""Fields for free text, with their length in characters: every field that may be longer than a
name or an id, and the values of ``attributes`` and ``properties``."""
