"""The Kafka client's own log lines: silent in our thread, untouched everywhere else."""

import logging
import threading

import pytest

from backchannel.sending.quiet import QuietClient


def test_only_lines_of_the_thread_that_began_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="aiokafka.client")  # whatever others made of it
    client = logging.getLogger("aiokafka.client")
    quiet = QuietClient()
    quiet.begin()
    client.error("ours: %s", OSError("canary"))
    thread = threading.Thread(target=client.error, args=("the bot's",))
    thread.start()
    thread.join()
    quiet.end()
    client.error("afterwards")

    assert [record.message for record in caplog.records] == ["the bot's", "afterwards"]
    assert quiet.cause == "OSError"
    assert client.filters == []
