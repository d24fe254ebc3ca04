"""Signatures of webhooks, as Standard Webhooks has them (symmetric, ``v1``). Pure.

The receiver computes the HMAC-SHA256 of ``id.timestamp.body`` with the shared key and compares.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

__all__ = ["read_key", "signed_headers"]

_PREFIX = "whsec_"
_KEY_BYTES = range(24, 65)


def read_key(secret: str) -> bytes:
    """Reads ``whsec_`` and the base64 of 24 to 64 bytes.

    Raises:
        ValueError: it is not that. The message does not hold it.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(_PREFIX) or len(key) not in _KEY_BYTES:
        raise ValueError("write whsec_ and the base64 of 24 to 64 random bytes")
    return key


def signed_headers(
    message_id: str, at_s: int, body: bytes, keys: Sequence[bytes]
) -> dict[str, str]:
    """Returns the headers of one attempt: its id, its time, and a signature by each key."""
    content = b".".join((message_id.encode(), str(at_s).encode(), body))
    signatures = [
        "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in keys
    ]
    headers = {"webhook-id": message_id, "webhook-timestamp": str(at_s)}
    return headers | ({"webhook-signature": " ".join(signatures)} if signatures else {})
