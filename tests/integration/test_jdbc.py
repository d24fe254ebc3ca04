"""ClickHouse's JDBC driver, the one that DBeaver takes from Maven, against the endpoint."""

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from jgo.maven import MavenContext, PythonResolver

from backchannel_deploy.broker.jars import default_cache_dir, fetch_jars, sha256_of
from support.endpoint import ClickHouse

pytestmark = pytest.mark.integration

VERSION = "0.9.4"
SHA256 = "db2e43b69531b0157b33217a85459771908838c0991e212e24e32b0ecbb6ee98"
CLIENT = Path(__file__).parents[1] / "support" / "Jdbc.java"


@pytest.fixture(scope="module")
def classpath() -> str:
    """The driver, kept in the user's cache, and the broker's jar of the log that it needs."""
    if shutil.which("javac") is None:
        pytest.skip("no JDK here: a Java source can't be run")
    folder = default_cache_dir() / "jdbc"
    maven = MavenContext(repo_cache=folder, local_repos=[], resolver=PythonResolver())
    project = maven.project("com.clickhouse", "clickhouse-jdbc").at_version(VERSION)
    try:
        jar = project.artifact(classifier="all").resolve()
    except (OSError, RuntimeError) as error:
        pytest.skip(f"the driver can't be fetched: {type(error).__name__}")
    assert sha256_of(jar) == SHA256
    (log,) = fetch_jars(default_cache_dir()).glob("slf4j-api-*.jar")
    return os.pathsep.join(map(str, (jar, log)))


def test_a_jdbc_client_writes_reads_and_looks_at_columns(
    clickhouse: ClickHouse, classpath: str
) -> None:
    address = urlsplit(clickhouse.url).netloc
    url = f"jdbc:clickhouse://{address}/{clickhouse.database}"
    ran = subprocess.run(
        ["java", "-cp", classpath, str(CLIENT), url],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["2 it's 2", "3 it's 3", "a UInt32", "s String", "refused"]
