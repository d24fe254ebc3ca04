"""ClickHouse's own compression: blocks, each with its checksum and sizes before it. Pure.

16 bytes  CityHash128 of the rest
 1 byte   how it is compressed
 4 bytes  size of the rest, this head's last 9 bytes included
 4 bytes  size when it is unfolded
"""

import sys
from collections.abc import Iterator
from struct import Struct

import lz4.block

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from backchannel_deploy.endpoint.cityhash import cityhash128
from backchannel_deploy.endpoint.errors import ClickHouseError

__all__ = ["BLOCK_BYTES_MAX", "NativeCompress", "NativeDecompress"]

BLOCK_BYTES_MAX = 16 << 20
"""Of a block that comes in, folded or not. Clients send one of 1 MB at most."""

_BLOCK_BYTES = 1 << 18
_CHECKSUM_BYTES = 16
_HEAD = Struct("<BII")
_LZ4 = 0x82


class NativeCompress:
    """Folds a body into blocks, in LZ4."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        self._held += data
        blocks: list[bytes] = []
        while len(self._held) >= _BLOCK_BYTES:
            blocks.append(_block(bytes(self._held[:_BLOCK_BYTES])))
            del self._held[:_BLOCK_BYTES]
        return b"".join(blocks)

    def finish(self) -> bytes:
        held, self._held = bytes(self._held), bytearray()
        return _block(held) if held else b""


class NativeDecompress:
    """Unfolds blocks in LZ4, in zstd, and those that are not compressed."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yields what is whole.

        Raises:
            ClickHouseError: it is broken, or larger than a block may be.
        """
        self._held += data
        while len(self._held) >= _CHECKSUM_BYTES + _HEAD.size:
            method, size, unfolded = _HEAD.unpack_from(self._held, _CHECKSUM_BYTES)
            if not _HEAD.size <= size <= BLOCK_BYTES_MAX or unfolded > BLOCK_BYTES_MAX:
                raise _broken(f"a block of {size} bytes, {unfolded} unfolded")
            end = _CHECKSUM_BYTES + size
            if len(self._held) < end:
                return
            whole = bytes(self._held[_CHECKSUM_BYTES:end])
            if cityhash128(whole) != bytes(self._held[:_CHECKSUM_BYTES]):
                raise _broken("the checksum of a block is another one")
            del self._held[:end]
            yield _unfolded(method, whole[_HEAD.size :], unfolded)

    def finish(self) -> None:
        """Raises ClickHouseError when it was cut off."""
        if self._held:
            raise _broken("unexpected end of the body")


def _block(data: bytes) -> bytes:
    folded: bytes = lz4.block.compress(data, store_size=False)
    whole = _HEAD.pack(_LZ4, _HEAD.size + len(folded), len(data)) + folded
    return cityhash128(whole) + whole


def _unfolded(method: int, data: bytes, size: int) -> bytes:
    found: bytes
    try:
        match method:
            case 0x82:
                found = bytes(lz4.block.decompress(data, uncompressed_size=size))
            case 0x90:
                found = zstd.ZstdDecompressor().decompress(data, size)
            case 0x02:
                found = data
            case _:
                raise _broken(f"blocks of method {method:#x} are not supported")
    except (lz4.block.LZ4BlockError, zstd.ZstdError) as error:
        raise _broken(str(error)) from None
    if len(found) != size:
        raise _broken("a block of another size than it says")
    return found


def _broken(reason: str) -> ClickHouseError:
    return ClickHouseError.named("CANNOT_DECOMPRESS", f"Cannot decompress the body: {reason}")
