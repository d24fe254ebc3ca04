"""Whom to tell, while somebody edits the file."""

from pathlib import Path

import pytest

from backchannel_sinks.notifier.errors import PlanError
from backchannel_sinks.notifier.plan_file import PlanFile
from backchannel_sinks.notifier.run import plan_senders

# apprise imports it on Python 3.11 and 3.12, where it is still there.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

TARGET = '[target.%s]\napprise = "json://secret.example.com"\n'


def plan_file(folder: Path) -> PlanFile:
    (folder / "notifier.toml").write_text(TARGET % "team")
    return PlanFile(folder / "notifier.toml", plan_senders)


def test_a_new_target_has_a_way_to_it(tmp_path: Path) -> None:
    file = plan_file(tmp_path)
    before = file.version
    (tmp_path / "notifier.toml").write_text(TARGET % "team" + TARGET % "night")
    assert file.look()
    assert list(file.senders) == list(file.plan.target) == ["team", "night"]
    assert file.version != before
    assert not file.look()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("# nothing any more\n", "nobody to tell"),
        (TARGET % "team" + "per_minute_max = 0\n", "per_minute_max"),
        (TARGET.replace("json", "nosuch") % "team", "not a URL that apprise knows"),
    ],
)
def test_a_bad_file_keeps_the_old_plan_and_says_why(tmp_path: Path, text: str, told: str) -> None:
    file = plan_file(tmp_path)
    version = file.version
    (tmp_path / "notifier.toml").write_text(text)
    with pytest.raises(PlanError, match=told):
        file.look()
    assert (file.version, list(file.senders)) == (version, ["team"])
    assert told in file.refused
    assert "secret.example.com" not in file.refused
