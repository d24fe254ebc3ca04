"""langfuse: an observation a turn."""

from langfuse import Langfuse

from benchmarks.subjects.opentelemetry_sdk import CountingExporter
from benchmarks.subjects.pace import facts, report


class Observations:
    """A client with everything at its default, but for the endpoint."""

    def __init__(self, where: str) -> None:
        # Its own exporter is this class, too; given here so that spans can be counted.
        self._exporter = CountingExporter(endpoint=f"{where}/api/public/otel/v1/traces")
        self._client = Langfuse(
            public_key="pk-bench",
            secret_key="sk-bench",
            base_url=where,
            span_exporter=self._exporter,
        )
        self._facts = facts(2_000)

    def call(self, index: int) -> None:
        self._client.start_observation(name="turn", metadata=self._facts[index % 2_000]).end()

    async def block(self, index: int) -> None:
        metadata = {"conversation_id": f"c-{index % 500}", "endpoint": "/chat"}
        with self._client.start_as_current_observation(
            name="turn", as_type="generation", model="m", metadata=metadata
        ) as turn:
            turn.update(usage_details={"input": 300, "output": 40})

    def close(self) -> int:
        self._client.flush()
        self._client.shutdown()
        return self._exporter.delivered


if __name__ == "__main__":
    report(Observations)
