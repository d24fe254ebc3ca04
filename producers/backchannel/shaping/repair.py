"""Builds an event out of whatever a bot says: what does not fit is cut or left out."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

__all__ = ["ITEMS_MAX", "build"]

M = TypeVar("M", bound=BaseModel)

_ATTEMPTS = 4
"""Cutting one field may show the next mistake in it (a tuple first, then what it holds)."""

ITEMS_MAX = 256
"""No list and no dict of an event holds more."""


def build(model: type[M], fields: Mapping[str, Any]) -> tuple[M, int]:
    """Returns the event, and how many fields had to be repaired for it.

    Too long a string or list is cut, a list becomes a tuple, what fits nowhere is left out.

    Raises:
        pydantic.ValidationError: a required field is missing or can't be repaired.
    """
    try:
        return model(**fields), 0
    except ValidationError as mistaken:
        error = mistaken
    fitting = dict(fields)
    repaired = _shorten(fitting)
    if repaired:
        try:
            return model(**fitting), len(repaired)
        except ValidationError as again:
            error = again
    for _ in range(_ATTEMPTS):
        for mistake in reversed(error.errors(include_url=False)):
            # Backwards, so that the places further on in a list stay what they are.
            if _repair(fitting, mistake):
                repaired.add(str(mistake["loc"][0]))
        try:
            return model(**fitting), len(repaired)
        except ValidationError as again:
            error = again
    for mistake in error.errors(include_url=False):
        fitting.pop(str(mistake["loc"][0]), None)
        repaired.add(str(mistake["loc"][0]))
    return model(**fitting), len(repaired)


def _shorten(fields: dict[str, Any]) -> set[str]:
    """Cuts what is far too long, in place, before each of its items is looked at for mistakes:
    that takes a time that grows with the square of their number. Returns the names."""
    shortened = set[str]()
    for name, value in fields.items():
        if isinstance(value, (list, tuple, set, frozenset, dict)) and len(value) > ITEMS_MAX:
            shortened.add(name)
            fields[name] = (
                dict(islice(value.items(), ITEMS_MAX))
                if isinstance(value, dict)
                else tuple(islice(value, ITEMS_MAX))
            )
    return shortened


def _repair(fields: dict[str, Any], mistake: ErrorDetails) -> bool:
    """Repairs one field in place; returns whether anything of it was lost."""
    name, *path = mistake["loc"]
    if name not in fields:
        return False
    value = fields[str(name)]
    if mistake["type"] == "tuple_type" and not path and isinstance(value, (list, set, frozenset)):
        fields[str(name)] = tuple(value)
        return False
    if not path:
        _put(fields, str(name), _cut(value, mistake))
    elif isinstance(value, dict):
        inner = dict(value)
        # A path of two parts is a value; the third part says that the key itself is at fault.
        _put(inner, path[0], _cut(inner.get(path[0]), mistake) if len(path) == 1 else None)
        fields[str(name)] = inner
    elif isinstance(value, tuple) and isinstance(path[0], int) and path[0] < len(value):
        part = _cut(value[path[0]], mistake) if len(path) == 1 else None
        kept = () if part is None else (part,)
        fields[str(name)] = (*value[: path[0]], *kept, *value[path[0] + 1 :])
    else:
        del fields[str(name)]
    return True


def _put(fields: dict[Any, Any], name: Any, value: Any) -> None:
    if value is None:
        fields.pop(name, None)
    else:
        fields[name] = value


def _cut(value: Any, mistake: ErrorDetails) -> Any:
    """Returns what fits of a value; ``None`` when nothing does."""
    most = mistake.get("ctx", {}).get("max_length")
    match mistake["type"], value:
        case "string_too_long", str():
            return value[:most]
        case "string_unicode", str():  # half a surrogate pair: not to be written as UTF-8
            return value.encode("utf-8", "replace").decode("utf-8")
        case "too_long", dict():
            return dict(list(value.items())[:most])
        case "too_long", tuple():
            return value[:most]
    return None
