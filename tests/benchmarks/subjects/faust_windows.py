"""Faust as its documentation shows it: an agent that takes event after event, a windowed table."""

import json

import faust
from faust.types import StreamT

from benchmarks.subjects.events import TOPIC, WHERE, Rate

app = faust.App(
    "bench-faust",
    broker=f"kafka://{WHERE}",
    store="memory://",
    topic_partitions=12,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    producer_linger=0.02,  # by default each entry of the changelog is a request of its own
    producer_max_batch_size=1024 * 1024,
    web_enabled=False,
)
means = app.Table("means", default=lambda: [0, 0], partitions=12).tumbling(10.0, expires=3600.0)
rate = Rate()


@app.agent(app.topic(TOPIC, key_type=bytes, value_type=bytes, value_serializer="raw"))
async def count(events: StreamT[bytes]) -> None:
    async for line in events:
        event = json.loads(line)
        tenant = event["tenant_id"]
        total, seen = means[tenant].value()
        means[tenant] = [total + event["duration_us"], seen + 1]
        rate.saw_one()


if __name__ == "__main__":
    app.Worker(loglevel="CRITICAL", redirect_stdouts=False).execute_from_commandline()
