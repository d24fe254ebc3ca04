"""Webhooks against a server that misbehaves, and the addresses that they refuse."""

import asyncio
import base64
import hashlib
import hmac
import socket
from typing import Any

import pytest

from backchannel.clock import ManualClock
from backchannel_sinks.notifier.addresses import GuardedResolver, is_allowed
from backchannel_sinks.notifier.errors import DeliveryError
from backchannel_sinks.notifier.plan import Target
from backchannel_sinks.notifier.webhook import Webhook
from support.alerts import NOON_US, a_message
from support.notifier_process import SECRET
from support.receiver import Receiver


def a_webhook(url: str, timeout_s: float = 0.3, **fields: Any) -> Webhook:
    known = {"webhook": url, "secrets": [SECRET], "allow": ["127.0.0.0/8", "::1/128"]}
    return Webhook(Target.model_validate(known | fields), ManualClock(), timeout_s=timeout_s)


async def test_a_webhook_is_signed_as_standard_webhooks_says(receiver: Receiver) -> None:
    await a_webhook(receiver.url("ok"), timeout_s=5).send(a_message())

    (got,) = receiver.got
    content = f"{got.id}.{got.headers['webhook-timestamp']}.".encode() + got.body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    assert got.headers["webhook-signature"] == f"v1,{signature}"
    assert got.headers["webhook-timestamp"] == str(NOON_US // 1_000_000)


async def test_two_keys_sign_while_one_is_exchanged(receiver: Receiver) -> None:
    other = "whsec_" + base64.b64encode(b"another key of thirty-two bytes!").decode()
    await a_webhook(receiver.url("ok"), timeout_s=5, secrets=[SECRET, other]).send(a_message())

    assert len(receiver.got[0].headers["webhook-signature"].split()) == 2


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("500", "answered 500"),
        ("404", "answered 404"),
        ("redirect", "answered 307"),
        ("hang", "no answer within 0.3 s"),
        ("drip", "no answer within 0.3 s"),
        ("close", "no connection, or a broken one"),
    ],
)
async def test_what_is_no_delivery(receiver: Receiver, path: str, why: str) -> None:
    with pytest.raises(DeliveryError, match=why):
        await a_webhook(receiver.url(path)).send(a_message())

    assert [each.path for each in receiver.got] == [f"/{path}"]


async def test_an_endless_answer_is_not_read(receiver: Receiver) -> None:
    async with asyncio.timeout(4):
        await a_webhook(receiver.url("large"), timeout_s=5).send(a_message())


async def test_a_receiver_may_ask_for_patience(receiver: Receiver) -> None:
    with pytest.raises(DeliveryError) as raised:
        await a_webhook(receiver.url("429"), timeout_s=5).send(a_message())

    assert raised.value.retry_after_s == 7


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1.", "localhost", "[::1]", "2130706433", "0x7f.1", "①②⑦.⓪.⓪.①"],
)
async def test_this_machine_is_refused_under_every_name(receiver: Receiver, host: str) -> None:
    webhook = a_webhook(f"http://{host}:{receiver.port}/ok", timeout_s=5, allow=[])

    with pytest.raises(DeliveryError):
        await webhook.send(a_message())
    assert receiver.got == []


async def test_no_error_holds_the_address_of_the_target() -> None:
    with pytest.raises(DeliveryError) as raised:
        await a_webhook("http://127.0.0.1:1/secret-path").send(a_message())

    assert "secret" not in str(raised.value)
    assert "127" not in str(raised.value)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "not an address",
    ],
)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_what_is_public_is_allowed(address: str) -> None:
    assert is_allowed(address)


async def test_a_name_is_resolved_to_its_allowed_addresses_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def answer(*_: Any, **__: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
            for address in ("10.0.0.1", "93.184.215.14")
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", answer)

    found = await GuardedResolver(()).resolve("example.com", 443)
    assert [each["host"] for each in found] == ["93.184.215.14"]
