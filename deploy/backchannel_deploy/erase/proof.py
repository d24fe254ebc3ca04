"""The completion record of an erasure, and its signature. Pure."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["SigningKey", "completion", "is_signed"]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key with a name, so that it can be changed: the name stands beside every signature."""

    secret: str
    key_id: str = ""

    @property
    def name(self) -> str:
        """Its name; without one given, 8 digits that follow from the key."""
        named = hmac.digest(self.secret.encode(), b"backchannel erasure key", "sha256").hex()[:8]
        return self.key_id or named

    def sign(self, record: str) -> str:
        """Returns the HMAC-SHA-256 of a record, hexadecimal."""
        return hmac.digest(self.secret.encode(), record.encode(), "sha256").hex()


def completion(
    erasure_id: str,
    subject: str,
    subject_keys: tuple[str, ...],
    requested_at_us: int,
    completed_at_us: int,
    kafka_until_us: int,
    removed: Mapping[str, int],
) -> str:
    """Returns the completion record: JSON, its names sorted, without spaces."""
    return json.dumps(
        {
            "erasure_id": erasure_id,
            "subject": subject,
            "subject_keys": list(subject_keys),
            "requested_at_us": requested_at_us,
            "completed_at_us": completed_at_us,
            # By then the last record of before the request has left Kafka, by its age.
            "kafka_until_us": kafka_until_us,
            "removed": dict(removed),
            "rows_left": 0,
            "version": 2,
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )


def is_signed(record: str, signature: str, key: SigningKey) -> bool:
    """Says whether the record is the one that was signed with this key."""
    return hmac.compare_digest(key.sign(record), signature)
