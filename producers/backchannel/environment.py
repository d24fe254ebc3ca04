"""What a bot's environment says, with a ``.env`` file below it."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

__all__ = ["ENV_FILE", "environment", "from_env_file", "reads_env_file"]

ENV_FILE = ".env"
"""Looked for in the working directory alone: what stands further up may be somebody else's."""

_PREFIX = "BACKCHANNEL_"


def environment() -> Mapping[str, str]:
    """Returns the variables of the environment, and those of ours that only the file has."""
    return {**from_env_file(), **os.environ}


def from_env_file(folder: Path | None = None) -> dict[str, str]:
    """Returns our variables in the ``.env`` file, taken as they stand there.

    There are none without the file, or without the extra ``dotenv``, which reads it.
    """
    path = (folder or Path()) / ENV_FILE
    if not path.is_file() or not reads_env_file():
        return {}
    from dotenv import dotenv_values

    try:
        found = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError):  # somebody else's file may be unreadable to us
        return {}
    return {
        name: value
        for name, value in found.items()
        if name.startswith(_PREFIX) and value is not None
    }


def reads_env_file() -> bool:
    """Returns whether the extra ``dotenv`` is installed."""
    return find_spec("dotenv") is not None
