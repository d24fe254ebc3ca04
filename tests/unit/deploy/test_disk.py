"""A disk that is full is told in a sentence."""

from pathlib import Path

from backchannel_deploy.disk import FREE_BYTES_MIN, disk_complaint, free_bytes


def test_a_disk_with_room_is_not_complained_about(tmp_path: Path) -> None:
    assert disk_complaint(tmp_path, FREE_BYTES_MIN) == ""
    assert free_bytes(tmp_path) > 0


def test_of_a_full_disk_is_told_which_one_and_how_much_is_missing() -> None:
    told = disk_complaint(Path("/data"), 3 * 2**20)

    assert told.startswith("The disk under /data is full (3 MB are left, 128 are needed)")
