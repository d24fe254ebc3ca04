"""Settings in a ``.env`` file: below the environment, and ours alone."""

from pathlib import Path

import pytest

from backchannel import ProducerSettings
from backchannel.environment import environment, from_env_file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a file in it."""
    (tmp_path / ".env").write_text(
        "# of the bot\nBACKCHANNEL_KAFKA=file:9092\nexport BACKCHANNEL_SERVICE='from file'\n"
        "BACKCHANNEL_TENANT_ID=${HOME}\nOPENAI_API_KEY=sk-canary\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BACKCHANNEL_KAFKA", raising=False)
    return tmp_path


def test_a_producer_finds_its_settings_in_the_file(folder: Path) -> None:
    settings = ProducerSettings.load()

    assert (settings.kafka, settings.service) == ("file:9092", "from file")


def test_arguments_and_environment_win(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKCHANNEL_SERVICE", "from environment")

    settings = ProducerSettings.load("argument:9092")
    assert (settings.kafka, settings.service) == ("argument:9092", "from environment")


def test_values_are_taken_as_they_stand_and_only_ours(folder: Path) -> None:
    assert from_env_file() == {
        "BACKCHANNEL_KAFKA": "file:9092",
        "BACKCHANNEL_SERVICE": "from file",
        "BACKCHANNEL_TENANT_ID": "${HOME}",
    }


def test_a_file_further_up_is_somebody_elses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = folder / "below"
    below.mkdir()
    monkeypatch.chdir(below)

    assert "BACKCHANNEL_KAFKA" not in environment()


def test_without_its_extra_the_file_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backchannel.environment.find_spec", lambda name: None)

    assert from_env_file() == {}


def test_a_file_that_is_no_text_is_left_alone(folder: Path) -> None:
    (folder / ".env").write_bytes(b"\xff\xfe\x00")

    assert from_env_file() == {}
