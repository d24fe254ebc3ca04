"""QuixStreams: a tumbling mean, kept in its RocksDB."""

import json
import tempfile
from typing import Any

from quixstreams import Application  # type: ignore[import-not-found]  # only the peers' environment has it
from quixstreams.dataframe.windows import Mean  # type: ignore[import-not-found]  # only the peers' environment has it

from benchmarks.subjects.events import TOPIC, WHERE, Rate


def main(folder: str) -> None:
    app = Application(
        broker_address=WHERE,
        consumer_group="bench-quixstreams",
        auto_offset_reset="earliest",
        state_dir=folder,
        loglevel="CRITICAL",
    )
    rate = Rate()

    def saw(_: Any) -> None:
        rate.saw_one()

    topic = app.topic(TOPIC, key_deserializer="str", value_deserializer="bytes")
    events = app.dataframe(topic).apply(json.loads)
    events = events.set_timestamp(lambda event, *_: event["ts_us"] // 1_000)
    windows = events.tumbling_window(duration_ms=10_000, grace_ms=60_000)
    windows.agg(mean=Mean("duration_us")).current().update(saw)
    app.run()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
