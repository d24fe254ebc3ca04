"""opentelemetry-sdk: a span a turn, BatchSpanProcessor, OTLP over HTTP."""

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks.subjects.pace import facts, report

__all__ = ["CountingExporter"]


class CountingExporter(SpanExporter):
    """The OTLP exporter; counts the spans that the endpoint took."""

    def __init__(self, endpoint: str) -> None:
        self.delivered = 0
        self._exporter: SpanExporter = OTLPSpanExporter(endpoint=endpoint)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.delivered += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class OpenTelemetry:
    """A tracer with everything at its default."""

    def __init__(self, where: str) -> None:
        self._exporter = CountingExporter(endpoint=f"{where}/v1/traces")
        self._provider = TracerProvider()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("bench")
        self._facts = facts(2_000)

    def call(self, index: int) -> None:
        self._tracer.start_span("turn", attributes=self._facts[index % 2_000]).end()

    async def block(self, index: int) -> None:
        attributes = {"conversation_id": f"c-{index % 500}", "model": "m", "endpoint": "/chat"}
        with self._tracer.start_as_current_span("turn", attributes=attributes) as span:
            span.set_attribute("input_tokens", 300)
            span.set_attribute("output_tokens", 40)

    def close(self) -> int:
        self._provider.force_flush(20_000)
        self._provider.shutdown()
        return self._exporter.delivered


if __name__ == "__main__":
    report(OpenTelemetry)
