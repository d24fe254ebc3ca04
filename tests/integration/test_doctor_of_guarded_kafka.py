"""`backchannel doctor` before a Kafka with TLS, users and rights: every refusal says what to do."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backchannel import KafkaSecurity
from backchannel.clock import SYSTEM_CLOCK
from backchannel_deploy.broker import BrokerConfig
from backchannel_deploy.doctor import kafka_checks
from backchannel_deploy.doctor.finding import Finding
from backchannel_deploy.doctor.kafka_checks import check_kafka
from backchannel_deploy.topics import ensure_topics
from support.broker import BrokerProcess, free_ports

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made by openssl"),
]

PASSWORD = "s3cret-canary"


@dataclass(frozen=True)
class Guarded:
    """A broker with a listener of each kind; its users have no rights."""

    open: str
    with_user: str
    with_tls: str
    certificate: str
    """That of the broker, which it has signed itself."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    certificate, keys = _certificate(folder)
    open_port, user_port, tls_port, controller_port = free_ports(4)
    listeners = {"PLAINTEXT": open_port, "SASL_PLAINTEXT": user_port, "SSL": tls_port}
    addresses = ",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items())
    jaas = "org.apache.kafka.common.security.plain.PlainLoginModule"
    broker = BrokerProcess(
        folder / "kafka",
        config=BrokerConfig(folder / "kafka", open_port, controller_port, heap_mb=256),
        properties={
            "listeners": f"{addresses},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": addresses,
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
                f'{jaas} required user_ana="{PASSWORD}";'
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keys),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "offsets.retention.minutes": "10080",
        },
    )
    broker.start()
    yield Guarded(
        open=f"127.0.0.1:{open_port}",
        with_user=f"127.0.0.1:{user_port}",
        with_tls=f"127.0.0.1:{tls_port}",
        certificate=str(certificate),
    )
    broker.stop()


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Returns a certificate for this machine, and a file with its key beside it."""
    key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=kafka", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    both.write_text(key.read_text() + certificate.read_text())
    return certificate, both


async def asked(address: str, **security: str) -> list[Finding]:
    options = KafkaSecurity.from_env({}, **security).aiokafka()
    return await check_kafka(address, clock=SYSTEM_CLOCK, security=options)


def ana(protocol: str = "SASL_PLAINTEXT", password: str = PASSWORD, **more: str) -> dict[str, str]:
    return {"security_protocol": protocol, "sasl_username": "ana", "sasl_password": password} | more


async def test_every_refusal_is_told_with_what_to_do(guarded: Guarded) -> None:
    tls = {"security_protocol": "SSL"}
    trusted = tls | {"ssl_cafile": guarded.certificate}
    told = {
        "another password": await asked(guarded.with_user, **ana(password="another")),
        "does not let users in by SCRAM": await asked(
            guarded.with_user, **ana(sasl_mechanism="SCRAM-SHA-256")
        ),
        "asks for no user": await asked(guarded.open, **ana()),
        "not trusted here": await asked(guarded.with_tls, **tls),
        "made out to another name": await asked(
            guarded.with_tls.replace("127.0.0.1", "localhost"), **trusted
        ),
        "does not speak TLS": await asked(guarded.open, **trusted),
        "closes it at once": await asked(guarded.with_user),
    }

    for expected, findings in told.items():
        (only,) = findings
        assert (only.subject, only.verdict) == ("kafka", "wrong")
        assert expected in only.told
        assert "BACKCHANNEL_KAFKA" in only.advice
        assert PASSWORD not in repr(findings)
        assert "ana" not in only.told


async def test_a_tls_port_that_is_asked_without_tls_is_told_so(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_checks, "_STEP_TIMEOUT_S", 1.0)
    (only,) = await asked(guarded.with_tls)

    assert "TLS" in only.advice


async def test_who_is_let_in_is_told_what_he_may_not_do(guarded: Guarded) -> None:
    await ensure_topics(guarded.open, clock=SYSTEM_CLOCK, partitions=1)
    findings = await asked(guarded.with_user, **ana())

    rights = [each for each in findings if each.subject == "rights"]
    assert [each.verdict for each in rights] == ["warning"] * 2
    topics, groups = rights
    assert "chat.events" in topics.told
    assert "worker, sink, notifier" in groups.told
    assert all("kafka-acls.sh" in each.advice for each in rights)


async def test_offsets_that_kafka_forgets_before_the_records_are_told(guarded: Guarded) -> None:
    await ensure_topics(guarded.open, clock=SYSTEM_CLOCK, partitions=1)
    findings = await asked(
        guarded.with_tls, security_protocol="SSL", ssl_cafile=guarded.certificate
    )

    (told,) = [each for each in findings if each.verdict == "warning"]
    assert "7 days after they were stopped" in told.told
    assert "offsets.retention.minutes=525600" in told.advice
