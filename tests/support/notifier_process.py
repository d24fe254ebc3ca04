"""A notifier as a process of its own, to be killed and started again; and what it is fed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.child import start_child
from support.receiver import Receiver
from support.stack import eventually

__all__ = ["NotifierProcess", "notifier_factory"]

SECRET = "whsec_YSBrZXkgb2YgdGhpcnR5LXR3byBieXRlcyBmb3IgeW91"


class NotifierProcess:
    """One notifier. Always ended by its process id."""

    def __init__(self, bootstrap: str, plan: Path, log: Path, **settings: str) -> None:
        self.log_path = log
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("BACKCHANNEL_")},
            "BACKCHANNEL_KAFKA": bootstrap,
            "BACKCHANNEL_NOTIFIER_FILE": str(plan),
            "BACKCHANNEL_LOG": "debug",
            **{f"BACKCHANNEL_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it. It is at work some seconds later."""
        assert self._process is None, "it runs already"
        with self.log_path.open("ab") as output:
            self._process = start_child(
                [sys.executable, "-m", "backchannel_deploy", "notifier"],
                env=self._environment,
                stdout=output,
                stderr=output,
            )

    def kill(self) -> None:
        """Ends it at once (SIGKILL)."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def stop(self) -> int:
        """Ends it as an operator would (SIGTERM), and returns its exit code."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(20)
        finally:
            self.kill()

    def log(self) -> str:
        """What it has logged since it was first started."""
        return self.log_path.read_text(encoding="utf-8")

    def wait_until_logged(self, event: str, *, times: int = 1) -> None:
        """Waits until it has logged something at least so many times."""

        def enough() -> bool:
            ended = self._process is None or self._process.poll() is not None
            assert not ended, f"the notifier ended: {self.log()[-3000:]}"
            return self.log().count(f'"event": "{event}"') >= times

        eventually(enough, True, timeout_s=60)


NotifierFactory = Callable[..., NotifierProcess]


@pytest.fixture
def notifier_factory(tmp_path: Path, receiver: Receiver) -> Iterator[NotifierFactory]:
    """Makes notifiers: ``notifier_factory(bootstrap, plan, **settings)``; not started yet. In the
    plan ``URL`` is where the receiver listens, and ``SECRET`` a key."""
    made: list[NotifierProcess] = []

    def make(bootstrap: str, plan: str, **settings: str) -> NotifierProcess:
        file = tmp_path / f"notifier-{len(made)}.toml"
        file.write_text(plan.replace("URL", receiver.url("")[:-1]).replace("SECRET", SECRET))
        log = tmp_path / f"notifier-{len(made)}.log"
        made.append(NotifierProcess(bootstrap, file, log, **settings))
        return made[-1]

    try:
        yield make
    finally:
        for each in made:
            each.kill()
