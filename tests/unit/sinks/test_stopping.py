"""How a role of the sinks ends when it is asked to."""

import subprocess
import sys

ROLE_THAT_HANGS = """
import asyncio
from backchannel_sinks import stopping

stopping.STOP_S = 0.1


async def main():
    stop = asyncio.Event()
    stopping.stop_when_asked(stop)
    print("begun", flush=True)
    await stop.wait()
    print("asked", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
"""


def test_what_does_not_stop_in_time_is_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ROLE_THAT_HANGS], stdout=subprocess.PIPE, text=True
    ) as role:
        assert role.stdout is not None
        assert role.stdout.readline() == "begun\n"
        role.terminate()
        assert role.stdout.readline() == "asked\n"
        assert role.wait(10) == 1
