"""backchannel in its default configuration: limits, masking and numbers on."""

from backchannel import Producer
from backchannel.events import Interaction
from benchmarks.subjects.pace import facts, report


class Ours:
    """A producer that sends to a real broker."""

    def __init__(self, where: str) -> None:
        self._producer = Producer(where)
        self._producer.start()
        self._events = [Interaction(**each) for each in facts(2_000)]

    def call(self, index: int) -> None:
        self._producer.track(self._events[index % 2_000])

    async def block(self, index: int) -> None:
        async with self._producer.interaction(
            conversation_id=f"c-{index % 500}", model="m", endpoint="/chat"
        ) as turn:
            turn.usage(input_tokens=300, output_tokens=40)

    def close(self) -> int:
        self._producer.close_sync(20)
        return self._producer.stats().acked


if __name__ == "__main__":
    report(Ours)
