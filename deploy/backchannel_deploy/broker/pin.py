"""Writes ``jars.txt`` anew: the broker's runtime dependencies, resolved and hashed.

Only a maintainer who moves to another Kafka version runs this, with the network at hand::

    python -m backchannel_deploy.broker.pin > jars.new && mv jars.new .../broker/jars.txt

The hashes are those of what was downloaded now: compare the difference with care before it is
committed, because every later download is held to it.
"""

import sys
import tempfile
from pathlib import Path

from backchannel_deploy.broker.jars import PinnedJar, sha256_of

KAFKA = "org.apache.kafka:kafka_2.13:4.3.1"
# Kafka brings log4j2 and the slf4j 1.7 interface, but not the bridge between the two: without it
# the broker logs nothing at all. The bridge has the version of the log4j that is resolved.
LOG4J = ("org.apache.logging.log4j", "log4j-core")
LOG_BRIDGE = ("org.apache.logging.log4j", "log4j-slf4j-impl")


def resolve_jars(repository: Path) -> list[PinnedJar]:
    """Resolve the broker's runtime dependencies into ``repository`` and hash every jar."""
    from jgo.maven import MavenContext, PythonResolver

    maven = MavenContext(repo_cache=repository, local_repos=[], resolver=PythonResolver())
    inputs, transitive = maven.resolver.resolve([maven.create_dependency(KAFKA)])
    found = {(d.groupId, d.artifactId): d.version for d in [*inputs, *transitive]}
    found[LOG_BRIDGE] = found[LOG4J]
    pinned = []
    for (group, artifact), version in sorted(found.items()):
        path = maven.project(group, artifact).at_version(version).artifact().resolve()
        pinned.append(PinnedJar(group, artifact, version, sha256_of(path)))
    return pinned


def main() -> int:
    """Print the list on standard output."""
    with tempfile.TemporaryDirectory(prefix="backchannel-pin-") as folder:
        for jar in resolve_jars(Path(folder)):
            sys.stdout.write(f"{jar.coordinate} {jar.sha256}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
