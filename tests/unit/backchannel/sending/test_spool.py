"""Sealed batches on disk: byte for byte, in order, through torn writes, full disks and locks."""

import contextlib
import os
import shutil
from functools import cache
from pathlib import Path

import pytest

from backchannel.events import Interaction, SealedBatch, encode_event, seal
from backchannel.sending.spool import NoRoomError, Spool

BYTES_MAX = 1024 * 1024


@cache
def batch(pseq: int, text: str = "Grüße 🙂", producer_id: str = "p-1") -> SealedBatch:
    line = encode_event(Interaction(conversation_id=text))
    return seal([line], producer_id=producer_id, pseq=pseq)


def spool(directory: Path, producer_id: str = "p-1", bytes_max: int = BYTES_MAX) -> Spool:
    return Spool(directory, producer_id, bytes_max)


def files(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*.batches"))


def test_a_batch_comes_back_byte_for_byte(tmp_path: Path) -> None:
    ours = spool(tmp_path)
    sealed = batch(7)

    place = ours.append(3, sealed)

    assert ours.read(place) == sealed
    assert (place.partition, place.count, place.pseq) == (3, 1, 7)


def test_a_segment_is_deleted_with_its_last_batch(tmp_path: Path) -> None:
    ours = spool(tmp_path)
    places = [ours.append(0, batch(pseq)) for pseq in (1, 2)]
    assert ours.size == files(tmp_path)[0].stat().st_size

    ours.settle(places[0])
    assert len(files(tmp_path)) == 1
    ours.settle(places[1])

    assert (ours.size, os.listdir(tmp_path)) == (0, [])


def test_what_a_process_left_is_adopted_in_order_when_it_is_gone(tmp_path: Path) -> None:
    dead = spool(tmp_path, "dead")
    for pseq in (2, 3, 1):  # what was under way at the end is written last
        dead.append(pseq % 2, batch(pseq))
    heir = spool(tmp_path, "heir")
    assert heir.adopt() == []  # it lives
    dead.close()

    places = heir.adopt()

    assert [(place.partition, place.pseq) for place in places] == [(0, 2), (1, 1), (1, 3)]
    assert [heir.read(place) for place in places] == [batch(2), batch(1), batch(3)]
    assert heir.adopt() == []
    for place in places:
        heir.settle(place)
    assert os.listdir(tmp_path) == []


def test_only_one_of_two_heirs_gets_it(tmp_path: Path) -> None:
    dead = spool(tmp_path, "dead")
    dead.append(0, batch(1))
    dead.close()

    found = [len(spool(tmp_path, name).adopt()) for name in ("a", "b")]

    assert found == [1, 0]


def test_what_an_heir_did_not_send_is_for_the_next_one(tmp_path: Path) -> None:
    dead = spool(tmp_path, "dead")
    dead.append(0, batch(1))
    dead.close()
    first = spool(tmp_path, "first")
    assert len(first.adopt()) == 1
    first.close()

    assert len(spool(tmp_path, "second").adopt()) == 1


@pytest.mark.parametrize("cut", [1, 20, 30, 100])
def test_a_torn_last_write_costs_only_itself(tmp_path: Path, cut: int) -> None:
    dead = spool(tmp_path, "dead")
    for pseq in (1, 2):
        dead.append(0, batch(pseq))
    dead.close()
    (file,) = files(tmp_path)
    os.truncate(file, file.stat().st_size - cut)
    heir = spool(tmp_path, "heir")

    places = heir.adopt()

    assert [heir.read(place) for place in places] == [batch(1)]
    assert heir.damaged == 1


def test_a_wrong_byte_costs_one_batch(tmp_path: Path) -> None:
    dead = spool(tmp_path, "dead")
    places = [dead.append(0, batch(pseq)) for pseq in (1, 2, 3)]
    dead.close()
    content = bytearray(files(tmp_path)[0].read_bytes())
    content[places[1].offset + places[1].length - 2] ^= 1
    files(tmp_path)[0].write_bytes(content)
    heir = spool(tmp_path, "heir")

    assert [place.pseq for place in heir.adopt()] == [1, 3]
    assert heir.damaged == 1


def test_garbage_in_the_directory_is_left_alone_and_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("?")
    (tmp_path / "dead").mkdir()
    (tmp_path / "dead" / "000001.batches").write_bytes(os.urandom(1000))
    heir = spool(tmp_path)

    assert heir.adopt() == []
    assert heir.damaged == 1
    assert (tmp_path / "a file").exists()


def test_at_its_bound_nothing_more_is_written(tmp_path: Path) -> None:
    ours = spool(tmp_path, bytes_max=1500)
    written = 0
    with contextlib.suppress(NoRoomError):
        for written in range(100):  # how far it came is what counts
            ours.append(0, batch(written))

    assert written < 10
    assert ours.size == sum(file.stat().st_size for file in files(tmp_path)) <= 1500


def test_a_full_disk_leaves_nothing_of_the_batch_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = spool(tmp_path)
    ours.append(0, batch(1))
    before = files(tmp_path)[0].stat().st_size
    write, room = os.pwrite, [100]

    def half(file: int, content: bytes, offset: int) -> int:
        if not room:
            raise OSError(28, "No space left on device")
        return write(file, content[: room.pop()], offset)

    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(OSError, match="No space"):
        ours.append(0, batch(2))
    assert files(tmp_path)[0].stat().st_size == before
    monkeypatch.undo()

    place = ours.append(0, batch(2))
    assert ours.read(place) == batch(2)


def test_a_directory_that_somebody_removes_is_made_anew(tmp_path: Path) -> None:
    ours = spool(tmp_path / "spill", bytes_max=2_000)
    lost = ours.append(0, batch(1))
    ours.append(0, batch(2))  # a quarter of the bound ends a segment
    shutil.rmtree(tmp_path / "spill")

    assert ours.read(lost) is None
    place = ours.append(0, batch(3))
    assert ours.read(place) == batch(3)


def test_the_number_of_partitions_is_kept_for_a_start_without_a_broker(tmp_path: Path) -> None:
    assert spool(tmp_path).partitions() == 1, "which every topic has"
    spool(tmp_path).note_partitions(5)

    assert spool(tmp_path).partitions() == 5


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    ours = spool(tmp_path / "new")
    ours.append(0, batch(1))

    assert (tmp_path / "new" / "p-1").stat().st_mode & 0o077 == 0
    assert files(tmp_path)[0].stat().st_mode & 0o077 == 0
