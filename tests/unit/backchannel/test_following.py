"""A file that changes while somebody follows it."""

from pathlib import Path

import pytest

from backchannel.following.file import FollowedFile, read_text


def followed(folder: Path) -> FollowedFile[int]:
    (folder / "number").write_text("5")
    return FollowedFile(folder / "number", int, ValueError)


def test_a_file_that_stays_the_same_is_no_news(tmp_path: Path) -> None:
    assert followed(tmp_path).look() is None


def test_a_new_text_is_taken_once(tmp_path: Path) -> None:
    file = followed(tmp_path)
    file.path.write_text("6")
    assert (file.look(), file.value, file.text) == (6, 6, "6")
    assert file.look() is None


def test_a_bad_text_is_told_once_and_the_old_one_kept(tmp_path: Path) -> None:
    file = followed(tmp_path)
    file.path.write_text("six")
    with pytest.raises(ValueError, match="'six'"):
        file.look()
    assert file.look() is None
    assert (file.value, file.text, file.rejected) == (5, "5", 1)
    assert "'six'" in file.refused


def test_a_good_text_after_a_bad_one_ends_the_refusal(tmp_path: Path) -> None:
    file = followed(tmp_path)
    file.path.write_text("six")
    with pytest.raises(ValueError, match="'six'"):
        file.look()
    file.path.write_text("7")
    assert file.look() == 7
    assert (file.refused, file.rejected) == ("", 1)


def test_a_file_that_is_put_back_as_it_was_is_refused_no_more(tmp_path: Path) -> None:
    file = followed(tmp_path)
    file.path.unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        file.look()
    file.path.write_text("5")
    assert file.look() is None
    assert file.refused == ""


def test_there_has_to_be_something_good_to_begin_with(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("five")
    with pytest.raises(ValueError, match="'five'"):
        FollowedFile(tmp_path / "number", int, ValueError)


def test_a_file_that_is_no_text_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_bytes(b"\xff\xfe")

    with pytest.raises(ValueError, match="is no UTF-8 text"):
        read_text(tmp_path / "rules.toml", ValueError)
