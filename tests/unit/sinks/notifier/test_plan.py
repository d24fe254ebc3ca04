"""The file that says whom to tell: what it may say, and how mistakes are told."""

from pathlib import Path

import pytest

from backchannel_sinks.notifier.errors import PlanError
from backchannel_sinks.notifier.plan import Plan
from support.alerts import an_alert
from support.notifier_process import SECRET

HOOK = f'[target.hook]\nwebhook = "https://example.com/x"\nsecrets = ["{SECRET}"]\n'


def load(tmp_path: Path, text: str, **environ: str) -> Plan:
    file = tmp_path / "notifier.toml"
    file.write_text(text)
    return Plan.load(file, environ)


def test_without_a_route_everything_goes_to_every_target(tmp_path: Path) -> None:
    plan = load(tmp_path, HOOK)

    assert [line.target for line in plan.lines(an_alert())] == ["hook"]


def test_a_secret_stands_in_the_environment(tmp_path: Path) -> None:
    plan = load(tmp_path, '[target.a]\napprise = "json://${HOST}"', HOST="example.com")

    assert plan.target["a"].apprise is not None
    assert plan.target["a"].apprise.get_secret_value() == "json://example.com"
    assert "example.com" not in repr(plan)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[target.a]\napprise = "json://${HOST}"', "set these variables of the environment: HOST"),
        ("[target.a]", "target.a: give it either apprise or webhook"),
        ('[target.a]\nwebhook = "https://x"', "secrets: a webhook is signed"),
        ('[target.a]\nwebhook = "http://[x"', "write an http:// or https:// URL"),
        ('[target.a]\nwebhook = "ftp://x"', "write an http:// or https:// URL"),
        ('[target.a]\nwebhook = "https://u:p@x"', "no user or password in the URL"),
        (HOOK.replace("whsec_", ""), "target.hook.secrets: write whsec_ and the base64"),
        (HOOK + '[[route]]\nto = ["hok"]', "route 1: to: no target 'hok'; there is hook"),
        (HOOK + "[[route]]\nto = ['hook']\ngroup_wait = 5", "route.1.group_wait: write a duration"),
        (HOOK + "[[route]]\nto = ['hook']\nfrom = 1", "route.1.from: Extra inputs"),
        (HOOK + "allow = ['10.0.0.1/8']", "target.hook.allow"),
        ("[target", "not TOML"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_to_write(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(PlanError, match=r"notifier\.toml: ") as raised:
        load(tmp_path, text)

    assert told in str(raised.value)
    assert SECRET.removeprefix("whsec_") not in str(raised.value)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read: No such file or directory"):
        Plan.load(tmp_path / "none.toml")
