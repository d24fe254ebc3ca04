"""HTTP content codings: zstd, lz4 (frames), gzip and deflate, both ways, piece by piece. Below them
ClickHouse's own compression, where a URL asks for it."""

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from backchannel_deploy.endpoint.errors import ClickHouseError
from backchannel_deploy.endpoint.native import NativeCompress, NativeDecompress

__all__ = ["NATIVE", "Compress", "Decompress", "accepted_coding", "compressor", "decompressor"]

NATIVE = "native"
"""ClickHouse's own compression. No header names it: who asks for it in the URL knows."""

# What one step may unfold at most: a small body must not become a large one in memory.
_STEP_BYTES = 1 << 20
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
# As ClickHouse prefers them.
_CODINGS = ("zstd", "lz4", "gzip", "deflate")


class Decompress(Protocol):
    """Unfolds a body; `finish` fails when it was cut off."""

    def feed(self, data: bytes) -> Iterator[bytes]: ...
    def finish(self) -> None: ...


class Compress(Protocol):
    """Folds a body."""

    def feed(self, data: bytes) -> bytes: ...
    def finish(self) -> bytes: ...


def accepted_coding(accept_encoding: str) -> str | None:
    """The coding to answer in, of those that an Accept-Encoding header names."""
    named = {part.split(";")[0].strip().lower() for part in accept_encoding.split(",")}
    return next((coding for coding in _CODINGS if coding in named), None)


def decompressor(coding: str, *, native: bool = False) -> Decompress:
    """The decompressor for a Content-Encoding header's value, and for what is ``native`` below it.

    Raises:
        ClickHouseError: the coding is not one of ours.
    """
    coding = coding.strip().lower()
    if native:
        return _NativeWithin(decompressor(coding))
    match coding:
        case "" | "identity":
            return _Identity()
        case "gzip":
            return _ZlibDecompress(_GZIP_WINDOW)
        case "deflate":
            return _ZlibDecompress(zlib.MAX_WBITS)
        case "lz4":
            return _FramesDecompress(lz4.frame.LZ4FrameDecompressor)
        case "zstd":
            return _FramesDecompress(zstd.ZstdDecompressor)
    raise ClickHouseError.named(
        "NOT_IMPLEMENTED",
        f"Unknown compression method '{coding}'. Only {', '.join(_CODINGS)} are supported",
    )


def compressor(coding: str) -> Compress:
    """The compressor for a coding that ``accepted_coding`` chose."""
    if coding == NATIVE:
        return NativeCompress()
    if coding == "lz4":
        return _Lz4Compress()
    if coding == "zstd":
        return _ZstdCompress()
    return _ZlibCompress(_GZIP_WINDOW if coding == "gzip" else zlib.MAX_WBITS)


class _Identity:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        pass


class _NativeWithin:
    def __init__(self, outer: Decompress) -> None:
        self._outer = outer
        self._inner = NativeDecompress()

    def feed(self, data: bytes) -> Iterator[bytes]:
        for piece in self._outer.feed(data):
            yield from self._inner.feed(piece)

    def finish(self) -> None:
        self._outer.finish()
        self._inner.finish()


class _ZlibDecompress:
    def __init__(self, window: int) -> None:
        self._window = window
        self._member = zlib.decompressobj(window)
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member.eof:  # members may follow each other
                self._member = zlib.decompressobj(self._window)
            self._started = True
            try:
                yield self._member.decompress(data, _STEP_BYTES)
            except zlib.error as error:
                raise _broken(str(error)) from None
            data = self._member.unused_data or self._member.unconsumed_tail

    def finish(self) -> None:
        if self._started and not self._member.eof:
            raise _broken("unexpected end of the body")


class _Frame(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _FramesDecompress:
    def __init__(self, new_frame: Callable[[], _Frame]) -> None:
        self._new_frame = new_frame
        self._frame = new_frame()
        self._started = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data or not (self._frame.needs_input or self._frame.eof):
            if self._frame.eof:  # frames may follow each other
                self._frame = self._new_frame()
            self._started = True
            try:
                yield self._frame.decompress(data, _STEP_BYTES)
            except (RuntimeError, zstd.ZstdError) as error:
                raise _broken(str(error)) from None
            data = self._frame.unused_data or b"" if self._frame.eof else b""

    def finish(self) -> None:
        if self._started and not self._frame.eof:
            raise _broken("unexpected end of the body")


class _ZlibCompress:
    def __init__(self, window: int) -> None:
        self._stream = zlib.compressobj(level=1, wbits=window)

    def feed(self, data: bytes) -> bytes:
        return self._stream.compress(data)

    def finish(self) -> bytes:
        return self._stream.flush()


class _Lz4Compress:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._head: bytes = self._frame.begin()

    def feed(self, data: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._frame.compress(data))

    def finish(self) -> bytes:
        return self._head + bytes(self._frame.flush())


class _ZstdCompress:
    def __init__(self) -> None:
        self._frame = zstd.ZstdCompressor(level=1)

    def feed(self, data: bytes) -> bytes:
        return self._frame.compress(data)

    def finish(self) -> bytes:
        return self._frame.flush()


def _broken(reason: str) -> ClickHouseError:
    return ClickHouseError.named("CANNOT_DECOMPRESS", f"Cannot decompress the body: {reason}")
