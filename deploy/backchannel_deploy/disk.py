"""Whether there is room on the disk under the data directory, and how much has to be left.

On a full disk the broker ends, ClickHouse refuses rows, and neither says so where a person looks.
What Kafka has acknowledged is not lost; bots hold back what it has not.

The embedded engine must never meet the end of the disk: it takes no notice of a write that fails,
and says of rows that are not there that they are stored. So it leaves this much free.
"""

import shutil
from pathlib import Path

__all__ = ["FREE_BYTES_MIN", "disk_complaint", "free_bytes"]

FREE_BYTES_MIN = 128 * 1024 * 1024


def disk_complaint(folder: Path, free_bytes: int) -> str:
    """Returns what is wrong with the disk that a folder lies on, in a sentence; else nothing."""
    if free_bytes >= FREE_BYTES_MIN:
        return ""
    left_mb, needed_mb = free_bytes // 2**20, FREE_BYTES_MIN // 2**20
    return (
        f"The disk under {folder} is full ({left_mb} MB are left, {needed_mb} are needed): "
        "make room, and everything goes on by itself."
    )


def free_bytes(folder: Path) -> int:
    """Returns how much room there is on the disk that a folder lies on."""
    return shutil.disk_usage(folder).free
