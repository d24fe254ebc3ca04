"""Notices when a consumer stands still while its logs grow: it has to be started again."""

from backchannel_processors.errors import MissedRecordsError

__all__ = ["ProgressWatch"]


class ProgressWatch:
    """Looks at positions and ends of logs every now and then."""

    def __init__(self, topic: str, *, patience: int = 6) -> None:
        self._topic = topic
        self._patience = patience
        self._stood: dict[int, tuple[int, int]] = {}

    def look(self, now: dict[int, tuple[int, int]]) -> None:
        """Takes in position and end of each partition.

        Raises:
            MissedRecordsError: a partition has records, and its position has not moved for
                ``patience`` looks.
        """
        before, self._stood = self._stood, {}
        for partition, (position, end) in now.items():
            if position >= end:
                continue
            was, looks = before.get(partition, (position, 0))
            looks = looks + 1 if was == position else 1
            self._stood[partition] = (position, looks)
            if looks > self._patience:
                raise MissedRecordsError(
                    f"{self._topic} partition {partition}: at {position} for {looks} looks, while "
                    f"the log goes on to {end}"
                )
