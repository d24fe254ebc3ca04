"""Whom to tell: what `backchannel notifier` and `up` say before anything is started."""

from pathlib import Path

import pytest
from rich.console import Console

from backchannel_deploy.cli.app import run
from backchannel_deploy.cli.up import roles_for
from backchannel_deploy.errors import UserError
from backchannel_deploy.up import UpSettings


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return tmp_path / "notifier.toml"


def test_a_notifier_with_nobody_to_tell_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BACKCHANNEL_KAFKA", "127.0.0.1:1")

    assert run(["notifier"]) == 1
    assert "name a target in a file" in capsys.readouterr().err


def test_a_mistake_in_the_file_is_a_sentence(
    plan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan.write_text('[target.hook]\nwebhook = "https://secret.example.com"\n')
    monkeypatch.setenv("BACKCHANNEL_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("BACKCHANNEL_NOTIFIER_FILE", str(plan))

    assert run(["notifier"]) == 1
    told = capsys.readouterr().err
    assert "target.hook: secrets: a webhook is signed" in told
    assert "secret.example.com" not in told


def test_up_starts_a_notifier_where_there_is_somebody_to_tell(plan: Path, tmp_path: Path) -> None:
    plan.write_text('[target.team]\napprise = "json://localhost"\n')
    settings = UpSettings(data_dir=tmp_path, notifier_file=plan)

    assert [role.name for role in roles_for(settings, Console())][-1] == "notifier"


def test_up_says_when_there_is_nobody_to_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    roles = roles_for(UpSettings(data_dir=tmp_path), Console())

    assert [role.name for role in roles] == ["worker", "sink"]
    assert "Nobody is told of alerts" in capsys.readouterr().out


def test_up_does_not_start_with_a_file_that_is_wrong(plan: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        roles_for(UpSettings(data_dir=tmp_path, notifier_file=plan), Console())
