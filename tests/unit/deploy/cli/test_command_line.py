"""The command line as a person meets it: help, mistakes, and what is not installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backchannel.events import Accepted, Interaction, encode_event, judge
from backchannel_deploy.cli.app import run

COMMANDS = [
    ["up"],
    ["demo"],
    ["replay"],
    ["sql"],
    ["status"],
    ["top"],
    ["whatif"],
    ["report", "summary"],
    ["prices", "import"],
    ["prices", "list"],
    ["prices", "missing"],
    ["alerts", "list"],
    ["alerts", "show"],
    ["alerts", "tail"],
    ["alerts", "silence"],
    ["alerts", "ack"],
    ["rules", "check"],
    ["rules", "test"],
    ["rules", "backtest"],
    ["rules", "push"],
    ["rules", "versions"],
    ["rules", "withdraw"],
    ["dead", "list"],
    ["dead", "show"],
    ["dead", "requeue"],
    ["worker"],
    ["sink"],
    ["notifier"],
    ["exporter"],
    ["doctor"],
    ["migrate"],
    ["retention"],
    ["roles"],
    ["schema"],
    ["verify"],
    ["erase"],
    ["version"],
]


def command(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    code = f"import sys\n{before}\nfrom backchannel_deploy.__main__ import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0

    shown = capsys.readouterr().out
    assert all(f" {names[0]} " in shown for names in COMMANDS)


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_command_has_a_help_page(
    names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*names, "--help"]) == 0
    assert f"Usage: backchannel {' '.join(names)}" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    done = command("--help", before="import atexit; atexit.register(lambda: print(*sys.modules))")

    loaded = set(done.stdout.split())
    assert not loaded & {"aiokafka", "chdb", "clickhouse_connect", "faust", "jgo", "numpy"}


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replya"]) == 2

    shown = capsys.readouterr()
    assert "replya" in shown.out + shown.err
    assert "replay" in shown.out + shown.err


def test_a_wrong_option_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["replay", "file.csv", "--speed", "quick"]) == 2
    assert "quick" in "".join(capsys.readouterr())


def test_trouble_is_one_sentence_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay", str(tmp_path / "no [such] file.csv")]) == 1

    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("backchannel: Cannot read ")
    assert "no [such] file.csv: no such file or directory." in shown.err


@pytest.mark.parametrize("missing", ["cyclopts", "rich"])
def test_the_base_install_says_which_extra_is_missing(missing: str) -> None:
    done = command("--help", before=f"sys.modules[{missing!r}] = None")

    assert done.returncode == 1
    assert f"needs the package {missing}, which the extra [cli] brings" in done.stderr
    assert 'pip install "backchannel[all]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_without_its_extra_says_so_too() -> None:
    done = command("sql", "SELECT 1", before="sys.modules['clickhouse_connect'] = None")

    assert done.returncode == 1
    assert "which the extra [sinks] brings" in done.stderr


def test_a_module_that_no_extra_brings_is_a_bug() -> None:
    done = command("version", before="sys.modules['backchannel_deploy.cli.version'] = None")

    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version"]) == 0

    command_output = capsys.readouterr().out
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == command_output
    assert command_output.count(".") >= 2


def test_the_schema_describes_what_travels(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0

    schemas = json.loads(capsys.readouterr().out)
    assert set(schemas) == {"event", "window", "conversation", "agent", "alert", "control"}
    line = encode_event(Interaction(input_tokens=3))
    assert isinstance(judge(line), Accepted)
    known = schemas["event"]["$defs"]["Interaction"]["properties"]
    assert set(json.loads(line)) <= set(known)


def test_the_schema_goes_into_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", "--output", str(tmp_path / "schemas")]) == 0

    written = sorted(path.name for path in (tmp_path / "schemas").iterdir())
    assert written == [
        "agent.schema.json",
        "alert.schema.json",
        "control.schema.json",
        "conversation.schema.json",
        "event.schema.json",
        "window.schema.json",
    ]
    assert len(capsys.readouterr().out.splitlines()) == 6


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Give names, or --reason, or --all"),
        (["a", "--all"], "Give names, or --reason, or --all"),
        (["a", "b", "--file", "x.json"], "--file is the line of one letter"),
        (["a", "--file", "nowhere.json"], "nowhere.json cannot be read"),
        (["a", "--set", "model"], "'model' is not field=value"),
    ],
)
def test_which_letters_go_back_has_to_be_said_plainly(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["dead", "requeue", *arguments]) == 1
    assert sentence in capsys.readouterr().err
