"""confluent-kafka: a record an event, idempotent, acknowledged by all: events a second."""

import json
import sys
import time
from pathlib import Path

from confluent_kafka import Producer


def main() -> None:
    where, count = sys.argv[1], int(sys.argv[2])
    lines = Path(sys.argv[3]).read_bytes().split(b"\n")
    acked = 0

    def delivered(error: object, _: object) -> None:
        nonlocal acked
        acked += error is None

    producer = Producer(
        {
            "bootstrap.servers": where,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 20,
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    started = time.perf_counter()
    for index in range(count):
        producer.produce("chat.events", lines[index % len(lines)], on_delivery=delivered)
        if index % 1_000 == 0:
            producer.poll(0)
    producer.flush(120)
    print(json.dumps({"events_per_s": acked / (time.perf_counter() - started)}))


if __name__ == "__main__":
    main()
