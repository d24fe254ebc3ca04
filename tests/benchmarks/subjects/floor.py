"""Nothing at all: what the loop, the machine and whatever else runs on it take."""

from benchmarks.subjects.pace import report


class Floor:
    """Counts what it is told."""

    def __init__(self, where: str) -> None:
        self._told = 0

    def call(self, index: int) -> None:
        self._told += 1

    async def block(self, index: int) -> None:
        self._told += 1

    def close(self) -> int:
        return self._told


if __name__ == "__main__":
    report(Floor)
