"""Looking into answers: objects of a provider's library and plain JSON alike, with no surprises.

Answers come from servers of many makes: whatever is missing or of another type is simply not there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["count", "each", "look", "text", "text_length"]

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
        answer = answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name, None)
    return answer


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


def text_length(prompt: Any) -> int:
    """Returns how many characters of text a request's prompt holds, images and keys left out."""
    length, parts = 0, 0
    pending: list[tuple[Any, int]] = [(prompt, 0)]
    while pending and parts < _PARTS_MAX:
        part, depth = pending.pop()
        parts += 1
        if isinstance(part, str):
            length += len(part)
        elif depth == _DEPTH_MAX:
            continue
        elif isinstance(part, Mapping):
            pending += [(part[name], depth + 1) for name in _WORDS & part.keys()]
        elif isinstance(part, (list, tuple)):
            pending += [(inner, depth + 1) for inner in part]
    return length
