"""The parts of the stack that ``up`` starts once Kafka and ClickHouse are ready."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Role:
    """A part that is a process of its own, and finds Kafka and ClickHouse in its environment."""

    name: str
    argv: tuple[str, ...]
    stop_timeout_s: float = 8.0


def command(name: str, *arguments: str) -> Role:
    """The role that is a command of ours."""
    return Role(name, (sys.executable, "-m", "backchannel_deploy", name, *arguments))


ROLES = (command("worker"), command("sink"))
NOTIFIER = command("notifier")
"""Started where somebody is to be told of alerts."""
