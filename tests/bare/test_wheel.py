"""The wheel as users install it: the light SDK alone, and the whole stack with its package data."""

import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.broker import cache_with_jars

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]

BASE_INSTALL = {
    # What a bot takes in: aiokafka and pydantic, and what they bring.
    "aiokafka",
    "annotated-types",
    "async-timeout",
    "backchannel",
    "packaging",
    "pydantic",
    "pydantic-core",
    "typing-extensions",
    "typing-inspection",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    [built] = folder.glob("*.whl")
    return built


def run(
    *command: str,
    cwd: Path | None = None,
    expected: int = 0,
    env: Mapping[str, str] | None = None,
) -> str:
    """Runs a command as in a shell of the user's: nothing of this environment is in it."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("BACKCHANNEL_")}
    clean.pop("PYTHONPATH", None)
    done = subprocess.run(
        command,
        cwd=cwd,
        env=clean | dict(env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


def environment(folder: Path) -> Path:
    """Makes an empty environment and returns its folder of commands."""
    venv.create(folder, with_pip=True, symlinks=True)
    return folder / "bin"


def constraints(folder: Path) -> Path:
    """The pinned versions, without the hashes, which pip does not take as constraints."""
    pins = re.findall(
        r"^([a-z0-9_.-]+==\S+)", (ROOT / "requirements/all.txt").read_text(), re.MULTILINE
    )
    path = folder / "constraints.txt"
    path.write_text("\n".join(pins))
    return path


def test_the_base_install_brings_little_and_the_command_says_what_is_missing(
    wheel: Path, tmp_path: Path
) -> None:
    bin_ = environment(tmp_path / "venv")
    pip = (str(bin_ / "python"), "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "-c", str(constraints(tmp_path)), str(wheel))

    listed = run(*pip, "list", "--format=freeze", cwd=tmp_path)
    installed = {re.split("==| @ ", line)[0].replace("_", "-") for line in listed.splitlines()}
    assert installed - {"pip", "setuptools", "wheel"} == BASE_INSTALL
    made = run(
        str(bin_ / "python"),
        "-c",
        "import backchannel, backchannel.events as e; print(e.Interaction().event_type)",
        cwd=tmp_path,
    )
    assert made.strip() == "interaction"
    told = run(str(bin_ / "backchannel"), "up", cwd=tmp_path, expected=1)
    assert 'pip install "backchannel[all]"' in told
    assert "Traceback" not in told


def test_the_wheel_runs_the_whole_stack_from_its_package_data(wheel: Path, tmp_path: Path) -> None:
    bin_ = environment(tmp_path / "venv")
    python = str(bin_ / "python")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    # The dependencies are those of this environment: they are not what is tried here.
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    env = {
        "BACKCHANNEL_DATA_DIR": str(tmp_path / "data"),
        "BACKCHANNEL_CACHE_DIR": str(cache_with_jars(tmp_path / "cache")),
        "BACKCHANNEL_KAFKA_PORT": "0",
        "BACKCHANNEL_KAFKA_CONTROLLER_PORT": "0",
        "BACKCHANNEL_CLICKHOUSE_PORT": "0",
        "BACKCHANNEL_WORKER_PORT": "0",
        "BACKCHANNEL_SINK_PORT": "0",
    }
    where = run(python, "-c", "import backchannel_deploy; print(backchannel_deploy.__file__)")
    assert where.startswith(str(tmp_path)), "it is the wheel that runs, not this checkout"

    with (tmp_path / "up.log").open("wb") as output:
        up = subprocess.Popen(
            [str(bin_ / "backchannel"), "up"],
            cwd=tmp_path,
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "data/state.json").exists():
            assert up.poll() is None, (tmp_path / "up.log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "up.log").read_text()
            time.sleep(0.2)
        answer = run(str(bin_ / "backchannel"), "sql", "SELECT count() FROM v_latency", env=env)
        assert "0" in answer
        up.send_signal(signal.SIGTERM)
        assert up.wait(60) == 0
    finally:
        if up.poll() is None:
            up.kill()
            up.wait()
