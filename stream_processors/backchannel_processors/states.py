"""States as they stand on the changelogs: JSON with a version first, read only by its own."""

from typing import Protocol, TypeVar

import msgspec

from backchannel_processors.distinct import Registers
from backchannel_processors.errors import REBUILD, StateError
from backchannel_processors.partials import VERSION

__all__ = ["Entry", "decode_state", "encode_state"]

Entry = tuple[bytes, bytes | None]
"""A record of a changelog: key and value; ``None`` takes the key away."""


class _Versioned(Protocol):
    @property
    def v(self) -> int: ...


_State = TypeVar("_State", bound=_Versioned)

encode_state = msgspec.json.Encoder(enc_hook=Registers.pack).encode


def decode_state(value: bytes, kind: type[_State]) -> _State:
    """Reads one state.

    Raises:
        StateError: another version wrote it, or something that is no worker.
    """
    try:
        state = msgspec.json.decode(value, type=kind, dec_hook=Registers.unpack)
    except msgspec.MsgspecError as error:
        raise StateError(_REBUILD.format(found="cannot be read")) from error
    if state.v != VERSION:
        raise StateError(_REBUILD.format(found=f"has version {state.v}"))
    return state


_REBUILD = (
    "a persisted state {found}, this worker reads version "
    + str(VERSION)
    + ": run the version that wrote it, or have it counted anew: "
    + REBUILD
)
