"""What every stream processor beside ours is given, and how it says how fast it was.

Called with: bootstrap servers, topic, number of events. A record is an event as JSON, its key the
tenant. Each has the mean duration of every tenant in windows of 10 s, by event time.
"""

import json
import os
import sys
import time

__all__ = ["COUNT", "TOPIC", "WHERE", "Rate"]

WHERE, TOPIC = sys.argv[1], sys.argv[2]
COUNT = int(sys.argv[3])


class Rate:
    """Events a second, from when the first is read until the last is counted: starting is not
    what is measured."""

    def __init__(self) -> None:
        self._seen = 0
        self._began = 0.0

    def begin(self) -> None:
        """An event is read; only the first one matters."""
        if not self._began:
            self._began = time.perf_counter()

    def saw_one(self) -> None:
        """Counts an event; with the last one it prints the rate and ends the process."""
        self.begin()
        self._seen += 1
        if self._seen == COUNT:
            rate = COUNT / (time.perf_counter() - self._began)
            print(json.dumps({"events_per_s": rate}), flush=True)
            os._exit(0)
