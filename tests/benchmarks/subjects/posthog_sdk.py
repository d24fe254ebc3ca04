"""posthog: a captured event a turn. It has no block around a turn."""

from posthog import Posthog

from benchmarks.subjects.pace import facts, report


class Captures:
    """A client with everything at its default, but for the endpoint."""

    def __init__(self, where: str) -> None:
        self._failed = 0
        self._told = 0
        self._client = Posthog("phc_bench", host=where, on_error=self._count)
        self._facts = facts(2_000)

    def call(self, index: int) -> None:
        each = self._facts[index % 2_000]
        if self._client.capture("turn", distinct_id=each["user_id"], properties=each):
            self._told += 1

    def block(self, index: int) -> None:
        return None

    def close(self) -> int:
        self._client.shutdown()
        return self._told - self._failed

    def _count(self, error: object, batch: list[object]) -> None:
        self._failed += len(batch)


if __name__ == "__main__":
    report(Captures)
