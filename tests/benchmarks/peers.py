"""The peers of the benchmarks: each in a process of its own, with what it needs to run."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from backchannel_deploy.broker import default_cache_dir, fetch_jars, find_java
from backchannel_deploy.broker.jars import MavenCentral, PinnedJar, sha256_of

__all__ = ["OURSELVES", "PEERS", "figures_of_java", "figures_of_python"]

ROOT = Path(__file__).parents[2]
PEERS = str(ROOT / "build" / "peers" / "bin" / "python")
"""The interpreter with the peers."""
OURSELVES = sys.executable
_TIMEOUT_S = 180
_JARS = (
    # What Kafka Streams needs beside the broker's own jars, of the same version.
    PinnedJar(
        "org.apache.kafka",
        "kafka-streams",
        "4.3.1",
        "bd73f3805e116f711e8456ee89a8a5b43ff5dcf5a5bb865afae29deae89e7c4b",
    ),
    PinnedJar(
        "org.rocksdb",
        "rocksdbjni",
        "10.1.3",
        "e7f925287d9fe2574fb7c7a86f7facaa9b8ab602a2eed0e598bf633528121498",
    ),
)


def figures_of_python(interpreter: str, module: str, *arguments: str) -> dict[str, float]:
    """Runs a module of ``benchmarks.subjects``; returns what it printed last."""
    command = [interpreter, "-m", f"benchmarks.subjects.{module}", *arguments]
    return _figures(command, {**os.environ, "PYTHONPATH": str(ROOT / "tests")})


def figures_of_java(home: Path, name: str, *arguments: str) -> dict[str, float]:
    """Compiles a class of ``benchmarks/subjects`` and runs it; returns what it printed last.

    Raises:
        LookupError: there is no Java compiler; the message says so.
    """
    compiler = shutil.which("javac")
    if compiler is None:
        raise LookupError("no Java compiler")
    jars = [*fetch_jars(default_cache_dir()).glob("*.jar"), *map(_fetched, _JARS)]
    class_path = os.pathsep.join([str(home), *map(str, jars)])
    source = Path(__file__).parent / "subjects" / f"{name}.java"
    subprocess.run([compiler, "-cp", class_path, "-d", str(home), str(source)], check=True)
    return _figures([str(find_java()), "-cp", class_path, name, *arguments], {**os.environ})


def _figures(command: Sequence[str], environment: dict[str, str]) -> dict[str, float]:
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        stderr=None
        if os.environ.get("DBG")
        else subprocess.DEVNULL,  # some peers tell of every queue that is full
        env=environment,
        timeout=_TIMEOUT_S,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _fetched(jar: PinnedJar) -> Path:
    """Returns a jar from the cache, where it is put by the first call."""
    folder = default_cache_dir() / "benchmarks"
    path = folder / jar.filename
    if not path.exists() or sha256_of(path) != jar.sha256:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as name:
            got = MavenCentral().download(jar, Path(name), lambda _: None)
            if sha256_of(got) != jar.sha256:
                raise LookupError(f"{jar.coordinate} arrived with another content")
            got.replace(path)
    return path
