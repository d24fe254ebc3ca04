"""Which partition an event belongs to, so that a conversation stays in order in one place.

Any language can do the same: Kafka's own murmur2 over the key's UTF-8, modulo the partitions.
Test vectors stand in ``tests/wire/partitions.json``.
"""

from struct import unpack_from

from backchannel.events.envelope import Envelope

__all__ = ["murmur2", "partition_key", "partition_of"]


def partition_key(event: Envelope) -> str:
    """Returns what keeps together: the conversation, else the session, the user, the tenant, the
    producer. The tenant named ``default`` is no tenant."""
    tenant_id = "" if event.tenant_id == "default" else event.tenant_id
    return (
        event.conversation_id or event.session_id or event.user_id or tenant_id or event.producer_id
    )


def partition_of(key: str, partitions: int) -> int:
    """Returns the partition of a key, as Kafka's default partitioner does."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def murmur2(key: bytes) -> int:
    """Returns the 32-bit MurmurHash2 of Kafka (seed 0x9747b28c), unsigned."""
    length = len(key)
    h = 0x9747B28C ^ length
    for word in unpack_from(f"<{length // 4}I", key):
        k = word * 0x5BD1E995 & 0xFFFFFFFF
        k = (k ^ k >> 24) * 0x5BD1E995 & 0xFFFFFFFF
        h = (h * 0x5BD1E995 & 0xFFFFFFFF) ^ k
    rest = length & 3
    if rest:
        h = (h ^ int.from_bytes(key[-rest:], "little")) * 0x5BD1E995 & 0xFFFFFFFF
    h = (h ^ h >> 13) * 0x5BD1E995 & 0xFFFFFFFF
    return h ^ h >> 15
