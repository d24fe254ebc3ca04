"""The SDK talks to the brokers it was given, and to nobody else."""

import asyncio
import json
import subprocess
import sys

import pytest

from support.broker import BrokerProcess
from support.stored import create_events_topic

pytestmark = pytest.mark.integration

# Everything that might have a reason to call home: the price table, gauges, content, a second
# process, an error of ours.
BOT = """
import asyncio, json, os, sys

asked = []

def hook(name, arguments):
    if name == "socket.connect":
        asked.append(["connect", repr(arguments[1])])
    elif name in ("socket.getaddrinfo", "socket.gethostbyname"):
        asked.append(["look up", repr(arguments[:2])])
    elif name in ("urllib.Request", "http.client.connect", "smtplib.connect", "ftplib.connect"):
        asked.append([name, repr(arguments[:2])])

sys.addaudithook(hook)
import backchannel
from backchannel.events import Interaction

async def bot():
    producer = backchannel.Producer(
        sys.argv[1], service="bot", capture_content=True, health_interval_s=1
    )
    async with producer:
        producer.load_prices()
        async with producer.interaction(conversation_id="c", model="gpt-4o-mini") as turn:
            turn.usage(input_tokens=10, output_tokens=10)
        producer.track(Interaction(error_message="boom"))
        producer.track(None)
        await asyncio.sleep(1.5)
        assert await producer.flush(20) == 0

asyncio.run(bot())
child = os.fork()
print(json.dumps(asked), flush=True) if child else os._exit(0)
os.waitpid(child, 0)
"""


def test_no_connection_goes_anywhere_but_to_the_brokers(kafka: BrokerProcess) -> None:
    asyncio.run(create_events_topic(kafka.bootstrap))
    host, port = kafka.bootstrap.split(":")

    done = subprocess.run(
        [sys.executable, "-c", BOT, kafka.bootstrap],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    asked = {(kind, what) for kind, what in json.loads(done.stdout)}
    assert asked == {("connect", f"({host!r}, {port})")}
