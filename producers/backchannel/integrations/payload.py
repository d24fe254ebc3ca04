"""Looking into answers: objects of a provider's library and plain JSON alike, with no surprises.

Answers come from servers of many makes: whatever is missing or of another type is simply not there.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel

__all__ = ["count", "each", "look", "text", "text_length", "texts"]

_DEPTH_MAX = 8
_PARTS_MAX = 100_000
"""How far into a prompt its length is counted; what is beyond is not."""
_WORDS = frozenset(
    {
        "arguments",
        "content",
        "input",
        "instructions",
        "messages",
        "output",
        "prompt",
        "system",
        "text",
        "thinking",
    }
)
"""Keys under which the text of a prompt stands."""


def look(answer: Any, *path: str) -> Any:
    """Returns what stands at a path of attributes or keys; ``None`` when there is nothing."""
    for name in path:
        if answer is None:
            return None
        if type(answer) is dict:
            answer = answer.get(name)
            continue
        try:
            answer = _member(answer, name)
        except Exception:  # noqa: BLE001  # not there, or a property that raises
            return None
    return answer


def _member(answer: Any, name: str) -> Any:
    # Every piece of a stream is asked for what few servers tell. A model that does not have it
    # takes its time to raise, so it is not asked where it can only say no.
    own = getattr(answer, "__dict__", None)
    if own is not None and name in own:
        return own[name]
    kind: Any = type(answer)  # mypy takes a class of any for not hashable
    if _is_field_at_most(kind, name):
        extra = answer.__pydantic_extra__
        return extra.get(name) if extra else None
    return answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name)


@lru_cache(maxsize=4096)
def _is_field_at_most(kind: type[object], name: str) -> bool:
    """Whether a name of these objects is no property, so that they have it as a field or not."""
    return issubclass(kind, BaseModel) and not hasattr(kind, name)


def count(answer: Any, *path: str) -> int:
    """Returns a whole number that is not negative; 0 when there is none."""
    found = look(answer, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0


def text(answer: Any, *path: str) -> str:
    """Returns a string; empty when there is none."""
    found = look(answer, *path)
    return found if isinstance(found, str) else ""


def each(answer: Any, *path: str) -> Sequence[Any]:
    """Returns a list; empty when there is none."""
    found = look(answer, *path)
    return found if isinstance(found, (list, tuple)) else ()


def texts(prompt: Any) -> Iterator[str]:
    """Returns the texts of a request's prompt, in their order; images and keys left out."""
    parts = 0
    pending: list[tuple[Any, int]] = [(prompt, 0)]
    while pending and parts < _PARTS_MAX:
        part, depth = pending.pop()
        parts += 1
        if isinstance(part, str):
            yield part
        elif depth == _DEPTH_MAX:
            continue
        elif isinstance(part, Mapping):
            inner = [part[name] for name in part if name in _WORDS]
            pending += [(one, depth + 1) for one in reversed(inner)]
        elif isinstance(part, (list, tuple)):
            pending += [(one, depth + 1) for one in reversed(part)]


def text_length(prompt: Any) -> int:
    """Returns how many characters of text a request's prompt holds."""
    return sum(len(one) for one in texts(prompt))
