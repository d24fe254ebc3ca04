"""One thing that was looked at, and what came of it."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Verdict"]

Verdict = Literal[
    "ok",
    "warning",  # it works, and may not be what was meant
    "wrong",  # something does not work until somebody mends it
    "skipped",  # there was nothing to look at
]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, in a sentence, and what to do about it. Holds no secret."""

    subject: str
    """What was looked at, in a word: ``settings``, ``kafka``, ``topics``, ``clock``, ``sink``…"""
    verdict: Verdict
    told: str
    advice: str = ""
