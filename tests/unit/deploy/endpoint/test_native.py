"""ClickHouse's own compression, held to blocks that ClickHouse itself has written."""

import lz4.block
import lz4.frame
import pytest

from backchannel_deploy.endpoint.cityhash import cityhash128
from backchannel_deploy.endpoint.compression import decompressor
from backchannel_deploy.endpoint.errors import ClickHouseError
from backchannel_deploy.endpoint.native import NativeCompress, NativeDecompress

# Of columns of UInt8 and UInt64 on the disk: of each branch of the checksum, by size.
BLOCKS = (
    "b05eec30cb0558c6624cafdd67af15b2820b000000010000001002",
    "7e65d496e8eb6d8e8a9385071dd727c2821200000008000000800f13c8196038c743",
    (
        "076e3c16645d879ee174ee97cb956a87821f00000014000000f0050100010001020002010202010000000102"
        "000201"
    ),
    (
        "a9b60a4bee8b1f53cd2cb95f2a64739e8295000000b5000000c0020201010002010201020001020010020d00"
        "42020100000b00a001020002000000020001210050010200000212002001011b0010010e00002e0020020244"
        "00002c00001000002f001200210010024600210000630000300010015900010f0010000100006d0010004600"
        "006e00003500003d00013b0010008300016e00022400031e007002020101010002"
    ),
    (
        "8771d490fb0669a2786ae1592288663a82ab000000a0000000f0910c921746334dba5f218b4d615abb63dff1"
        "e098d8bda4043660811a6ba3ae5ef92a3066546cc5a1e29c148965458e66610f27f5fa4f47fb92e8b569deb0"
        "2e5b4c351a635e9dc7a56028e484d43b4bfc0c8ccfe9841465e6fc1b6c00354611ef9492a5d5e395cb3c0d54"
        "baa978a916b1e289abc9fd117f2df268ee146c77e09fa2d77d689f57bd7c9ace686d52368c8f7c8eeec7dfab"
        "0da559e59966caa50acee3"
    ),
    (
        "2a044e24e69faf44de44642ae4248de6829c01000090010000f0ff826c775b2a45489840f98952ef1fe1130c"
        "112e188c9511774edb5c9341cc0f26fda5c8836640cdadf0dcced2199b616e7494bb08c326029c0dfd0c5e82"
        "0d72015c6a1ed67bdd333df7a39c8b1c7dfc93fd167fec3a9c7dd81c4170d6dc8f0a3aa6d9e26f6b6fdb2224"
        "e174a73f683fdb2c67efc43675c9feae4b86e946fc5bf9819d6adaa101734b70c3139ba80a1fa1497593c5cd"
        "2c9bfa62e9534fdbe286dd8f3c0c03139fc656005dd0cf491ef9a99aaaa5d3e39c9a1ad4d69fe7f69394cf96"
        "96ce35a67db6eaf53fd86b0a88a5c64726bc1522a2a1d70fac4c8368753c733a816f91266a887f2ea6aa188b"
        "c6126fd830721e0ead0112241f97723d3fcd250ffa5d006e4766161d3550905b7efc96dfabb0a56d0f3f0f61"
        "5ac35fa36991d086744eddec7b4f06dce06bce754ea602e32587555a525374244a28f6f14a37e15dab4f83c7"
        "cd97908cc8e310cfe2dff87d4e22e46bdd425593f2d3ea660303713d50043bbdaa60d9eda1ec2708c29b6aa6"
        "7acfd32cf0d7cc7c463f3e3714bf64b59289a66956dd9c33993ed684d6ac0b7f"
    ),
)


def unfolded(data: bytes, *, step: int = 7) -> bytes:
    unfold = NativeDecompress()
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    found = b"".join(piece for each in pieces for piece in unfold.feed(each))
    unfold.finish()
    return found


@pytest.mark.parametrize(
    "block", [bytes.fromhex(each) for each in BLOCKS], ids=lambda each: str(len(each))
)
def test_blocks_of_clickhouse_have_the_checksum_and_the_data_that_they_say(block: bytes) -> None:
    size = int.from_bytes(block[21:25], "little")
    assert cityhash128(block[16:]) == block[:16]
    assert unfolded(block) == lz4.block.decompress(block[25:], uncompressed_size=size)


@pytest.mark.parametrize("size", [0, 1, 9, 200, 1 << 18, 600_000])
def test_what_is_folded_is_unfolded_the_same(size: int) -> None:
    data = bytes(number * number % 251 for number in range(size))
    fold = NativeCompress()
    folded = fold.feed(data[:100]) + fold.feed(data[100:]) + fold.finish()
    assert unfolded(folded, step=10_000) == data


def test_a_block_that_is_broken_cut_off_or_too_large_is_refused() -> None:
    block = bytes.fromhex(BLOCKS[-1])
    huge = block[:17] + b"\xff\xff\xff\x7f" + block[21:]
    for wrong, why in (
        (block[:-1] + b"?", "checksum"),
        (block[:-1], "unexpected end"),
        (huge, "a block of 2147483647 bytes"),
    ):
        with pytest.raises(ClickHouseError, match=why):
            unfolded(wrong)


def test_it_may_lie_within_a_coding_of_http() -> None:
    fold = NativeCompress()
    within = lz4.frame.compress(fold.feed(b"SELECT 1") + fold.finish())
    unfold = decompressor("lz4", native=True)
    assert b"".join(unfold.feed(within)) == b"SELECT 1"
    unfold.finish()
