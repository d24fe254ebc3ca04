"""What the windows agent tells the merge agent, as it stands on ``chat.partials``.

A partial says what the records of one source partition after one offset and up to another one add
to one series in one window. A full one begins at the beginning: a later one replaces an earlier
one. Ahead of it, what alert rules look at comes in brief, most of it as what is new alone. Either
is a true statement about the log, so a repeat changes nothing, nor does the order in which they
come. A notice says how far a source partition has come, so that a window can be closed.

The measures of a partial are sealed: JSON as it stands in the record, which the merge agent keeps,
writes on, and opens only when somebody asks for them. Under load most of them are replaced before
anybody does.
"""

from collections.abc import Iterator, Sequence

import msgspec

from backchannel_processors.distinct import Registers
from backchannel_processors.errors import REBUILD, StateError
from backchannel_processors.groupings import Dims
from backchannel_processors.measures import Exemplar, Measures
from backchannel_processors.sealed_lines import RECORD_BYTES_MAX

__all__ = [
    "VERSION",
    "Bundle",
    "Notice",
    "Partial",
    "Progress",
    "decode_bundle",
    "encode_bundle",
    "encode_bundles",
    "newest_of",
    "open_measures",
    "seal_measures",
]

VERSION = 5
"""Version of the records on ``chat.partials`` and of the states on the changelogs."""

_PARTIALS_PER_RECORD = 100


class Partial(msgspec.Struct, array_like=True, frozen=True):
    """One series in one window, as far as one source partition has seen it."""

    origin: str
    grouping: str
    dims: Dims
    window_start: int
    """Unix seconds; the window is [start, start + 10)."""
    source: int
    last_offset: int
    """Offset of the newest record that changed it. The higher one of two is the newer one."""
    sealed: msgspec.Raw
    """Its measures: see ``seal_measures``."""
    is_brief: bool = False
    """They are ``Measures.brief``: sent ahead for alert rules, and soon followed by all of them."""
    base_offset: int = -1
    """They are of the records after this one alone; -1 for all. A full one is of all."""


class Progress(msgspec.Struct, array_like=True, frozen=True):
    """How far one origin has come in a source partition."""

    watermark_us: int
    idle: bool
    """A replay that has been silent while everything was read: it may be over."""
    ended: bool
    """It is over: what still comes of it is late."""


class Notice(msgspec.Struct, array_like=True, frozen=True):
    """How far a source partition has come. Sent after all partials that it speaks of."""

    source: int
    next_offset: int
    read_to_us: int
    """Wall clock at which everything in the source partition had been read; 0 for not yet."""
    origins: dict[str, Progress]
    incomplete: list[tuple[str, str, int]] = []
    """(origin, grouping, window start) for which there were more series than there is room."""


class Bundle(msgspec.Struct, frozen=True):
    """One record: many states, of any sources, for one merge partition."""

    v: int
    partials: list[Partial] = []
    notices: list[Notice] = []


class _Versioned(msgspec.Struct):
    v: int


class _Newest(msgspec.Struct, array_like=True):
    """What measures begin with."""

    newest: Exemplar


_encode = msgspec.json.Encoder(enc_hook=Registers.pack).encode
_decode = msgspec.json.Decoder(Bundle).decode
_version = msgspec.json.Decoder(_Versioned).decode
_decode_newest = msgspec.json.Decoder(_Newest).decode
_decode_measures = msgspec.json.Decoder(Measures, dec_hook=Registers.unpack).decode


def seal_measures(measures: Measures) -> msgspec.Raw:
    """Returns measures as they are now."""
    return msgspec.Raw(_encode(measures))


def open_measures(sealed: msgspec.Raw) -> Measures:
    """Returns what was sealed.

    Raises:
        StateError: it is nothing that was sealed.
    """
    try:
        return _decode_measures(sealed)
    except msgspec.MsgspecError as error:
        raise StateError(_UNREADABLE) from error


def newest_of(sealed: msgspec.Raw) -> Exemplar:
    """Returns the newest event of what was sealed, without opening it.

    Raises:
        StateError: it is nothing that was sealed.
    """
    try:
        return _decode_newest(sealed).newest
    except msgspec.MsgspecError as error:
        raise StateError(_UNREADABLE) from error


_UNREADABLE = "the measures of a partial cannot be read"


def encode_bundles(partials: Sequence[Partial], notices: list[Notice]) -> Iterator[bytes]:
    """Yields the values of as many records as it takes, one at least; notices are in the last."""
    chunk: list[Partial] = []
    room = RECORD_BYTES_MAX
    for partial in partials:
        size = len(partial.sealed)
        if chunk and (size > room or len(chunk) == _PARTIALS_PER_RECORD):
            yield encode_bundle(chunk, [])
            chunk, room = [], RECORD_BYTES_MAX
        chunk.append(partial)
        room -= size
    yield encode_bundle(chunk, notices)


def encode_bundle(partials: list[Partial], notices: list[Notice]) -> bytes:
    """Returns the value of a record."""
    return _encode(Bundle(VERSION, partials, notices))


def decode_bundle(value: bytes) -> Bundle:
    """Reads the value of a record.

    Raises:
        StateError: another version wrote it, or something that is no worker.
    """
    try:
        bundle = _decode(value)
    except msgspec.MsgspecError as error:
        version = _version_of(value)
        if version in (None, VERSION):
            raise StateError(
                "a record on chat.partials is not of this pipeline: only workers may write there"
            ) from error
    else:
        version = bundle.v
        if version == VERSION:
            return bundle
    raise StateError(
        f"a record on chat.partials has version {version}, this worker knows {VERSION}: "
        f"run the version that wrote it, or have the states counted anew: {REBUILD}"
    )


def _version_of(value: bytes) -> int | None:
    try:
        return _version(value).v
    except msgspec.MsgspecError:
        return None
