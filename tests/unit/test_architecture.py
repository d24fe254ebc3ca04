"""What a picture of the folders must show: arrows in one direction, and an honest public face."""

import ast
import importlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ALLOWED = {
    # folder: the packages of ours that its files may import, by prefix
    "producers/backchannel/events": ("backchannel.events", "backchannel.clock"),
    "producers/backchannel/prices": ("backchannel.forks", "backchannel.prices"),
    "producers/backchannel/shaping": (
        "backchannel.clock",
        "backchannel.events",
        "backchannel.shaping",
    ),
    "producers/backchannel/sending": (
        "backchannel.clock",
        "backchannel.errors",
        "backchannel.events",
        "backchannel.forks",
        "backchannel.sending",
        "backchannel.settings",
        "backchannel.shaping",
    ),
    "producers/backchannel/probes": ("backchannel.events", "backchannel.probes"),
    "producers/backchannel/following": ("backchannel.events", "backchannel.following"),
    "producers/backchannel": ("backchannel",),
    "stream_processors/backchannel_processors": (
        "backchannel.events",
        "backchannel.clock",
        "backchannel.following",
        "backchannel.probes",
        "backchannel.security",
        "backchannel_processors",
    ),
    "sinks/backchannel_sinks": (
        "backchannel.events",
        "backchannel.clock",
        "backchannel.following",
        "backchannel.prices",
        "backchannel.probes",
        "backchannel.security",
        "backchannel_sinks",
    ),
    "deploy/backchannel_deploy": ("backchannel",),
}
PURE = ("producers/backchannel/events",)
"""Folders whose files may import the standard library and pydantic besides."""


def python_files(folder: str) -> list[Path]:
    inner = [name for name in ALLOWED if name != folder and name.startswith(folder)]
    return [
        path
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not any((ROOT / name) in path.parents for name in inner)
    ]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_point_one_way(folder: str) -> None:
    for path in python_files(folder):
        for name in imports(path):
            if name.split(".")[0].startswith("backchannel"):
                allowed = ALLOWED[folder]
                ours = any(name == prefix or name.startswith(prefix + ".") for prefix in allowed)
                deploy = folder.startswith("deploy") and name.startswith("backchannel")
                assert ours or deploy, f"{path.relative_to(ROOT)} imports {name}"


def test_the_contract_imports_nothing_heavy() -> None:
    heavy = {"aiokafka", "faust", "clickhouse_connect", "structlog", "asyncio", "logging"}
    for folder in PURE:
        for path in python_files(folder):
            assert heavy.isdisjoint(name.split(".")[0] for name in imports(path)), path


@pytest.mark.parametrize("module", ["backchannel", "backchannel.events", "backchannel.testing"])
def test_all_is_the_public_face(module: str) -> None:
    loaded = importlib.import_module(module)

    assert sorted(loaded.__all__) == sorted(set(loaded.__all__))
    for name in loaded.__all__:
        assert hasattr(loaded, name), f"{module}.{name}"


def committed() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_committed_file_names_the_host_of_a_registry_or_a_lock_file_with_addresses() -> None:
    dot = "."
    hosts = [
        f"pypi{dot}org",
        f"python{''}hosted{dot}org",
        f"repo1{dot}maven",
        f"repo{dot}maven",
        f"maven{dot}org",
        f"npmjs{dot}",
    ]
    for path in committed():
        assert path.name not in ("uv.lock", "pom.xml", "package-lock.json")
        text = path.read_bytes()
        for host in hosts:
            assert host.encode() not in text, f"{path.relative_to(ROOT)}: {host}"
        assert len(text) < 1024 * 1024, f"{path.relative_to(ROOT)} is over 1 MB"
