"""Whether a broker lets us in: TLS, user, password, and the topics that it shows this user.

Asked over a connection of its own: the clients say of every refusal only that nobody answers.
"""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from backchannel_deploy.doctor.finding import Finding

__all__ = ["Door", "knock"]

_SETTING = "BACKCHANNEL_KAFKA_"
_WRONG_HOST = (62, 64)  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and _IP_ADDRESS_MISMATCH
_EXPIRED = 10
_WITHOUT_USER = {"SASL_SSL": "SSL", "SASL_PLAINTEXT": "PLAINTEXT"}
_WITHOUT_TLS = {"SSL": "PLAINTEXT", "SASL_SSL": "SASL_PLAINTEXT"}


@dataclass(frozen=True, slots=True)
class Door:
    """What came of asking."""

    refusal: Finding | None
    """Why we are not let in."""
    hidden: tuple[str, ...] = ()
    """Topics that this user may not see, whether they are there or not."""


async def knock(
    address: str, security: Mapping[str, Any], topics: Iterable[str], *, timeout_s: float
) -> Door:
    """Asks the broker at ``host:port``. Changes nothing.

    Raises:
        TimeoutError: it says nothing.
    """
    host, _, port = address.rpartition(":")
    protocol = str(security.get("security_protocol", "PLAINTEXT"))
    try:
        door = await create_conn(
            host.strip("[]"), int(port), request_timeout_ms=round(timeout_s * 1_000), **security
        )
        try:
            return Door(None, await _hidden(door, list(topics)))
        finally:
            door.close()
    except TimeoutError:
        raise
    except (KafkaError, OSError) as error:
        told, advice = _told(error, protocol, str(security.get("sasl_mechanism", "")))
        return Door(Finding("kafka", "wrong", f"Kafka at {address} {told}.", advice))


async def _hidden(door: AIOKafkaConnection, names: list[str]) -> tuple[str, ...]:
    # By name: of all topics the broker leaves out those that must not be seen. And never so that
    # it creates one.
    answer = await door.send(MetadataRequest(names, allow_auto_topic_creation=False))
    return tuple(
        each["topic"]
        for each in answer.to_object()["topics"]
        if for_code(each["error_code"]) is TopicAuthorizationFailedError
    )


def _told(error: Exception, protocol: str, mechanism: str) -> tuple[str, str]:
    """Returns what the broker does, and what to do about it. Holds no user and no password."""
    told = f"answers, but not to us: {type(error).__name__}"
    advice = f"Check {_SETTING}SECURITY_PROTOCOL and the SASL user."
    match error:
        case ssl.SSLCertVerificationError(verify_code=code) if code in _WRONG_HOST:
            told = "shows a certificate that is made out to another name"
            advice = "Name it in BACKCHANNEL_KAFKA as its certificate does."
        case ssl.SSLCertVerificationError(verify_code=code) if code == _EXPIRED:
            told = "shows a certificate that has expired"
            advice = "It needs a new one."
        case ssl.SSLCertVerificationError():
            told = "shows a certificate of an authority that is not trusted here"
            advice = f"Name the file with that authority's certificate: {_SETTING}SSL_CAFILE"
        case SaslAuthenticationFailed() | AuthenticationFailedError():
            told = "knows no such user, or has another password for it"
            advice = (
                f"Check {_SETTING}SASL_USERNAME and {_SETTING}SASL_PASSWORD, and that the user was "
                f"made for {mechanism} ({_SETTING}SASL_MECHANISM)."
            )
        case UnsupportedSaslMechanismError():
            told = f"does not let users in by {mechanism}"
            advice = (
                f"Set {_SETTING}SASL_MECHANISM to one that its listener has: PLAIN, SCRAM-SHA-256, "
                "SCRAM-SHA-512."
            )
        case IllegalSaslStateError():
            told = "asks for no user on this port"
            advice = (
                f"Set {_SETTING}SECURITY_PROTOCOL={_WITHOUT_USER[protocol]}, or take the port of "
                "its SASL listener."
            )
        case ssl.SSLError() | KafkaConnectionError() | ConnectionError() if "SSL" in protocol:
            told = "does not speak TLS on this port, or asks for a certificate of ours"
            advice = (
                "Take the port of its TLS listener, or set "
                f"{_SETTING}SECURITY_PROTOCOL={_WITHOUT_TLS[protocol]}. Where it asks for a "
                f"certificate: {_SETTING}SSL_CERTFILE and {_SETTING}SSL_KEYFILE."
            )
        case KafkaConnectionError() | ConnectionError():
            wanted = "SASL_SSL" if protocol == "SASL_PLAINTEXT" else "SSL, SASL_SSL, SASL_PLAINTEXT"
            told = "takes the connection and closes it at once"
            advice = (
                "It wants TLS or a user on this port: set "
                f"{_SETTING}SECURITY_PROTOCOL ({wanted}), or take another port."
            )
    return told, advice
