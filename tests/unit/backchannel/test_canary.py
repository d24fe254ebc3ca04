"""A secret goes into every field, setting, hook and error, and shows in nothing people read."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from pydantic import SecretStr

from backchannel import KafkaSecurity, MemoryTransport, Producer, SettingsError
from backchannel.events import EVENT_TYPES, Health, Interaction, SealedBatch
from backchannel.settings import ProducerSettings, SettingsArguments

CANARY = "canary-4f1d0c96"
KEY = f"{CANARY}-and-long-enough"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that anybody logs, at any level."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


def silent(caplog: pytest.LogCaptureFixture) -> bool:
    return CANARY not in caplog.text and not any(
        CANARY in str(record.__dict__) for record in caplog.records
    )


def everything(name: str) -> dict[str, Any]:
    """The canary in every field of a type of event, in every shape."""
    shapes: list[Any] = [CANARY, {CANARY: CANARY}, [CANARY], CANARY * 10_000, f"{CANARY}\ud800"]
    names = EVENT_TYPES[name].model_fields
    return {field: shapes[place % len(shapes)] for place, field in enumerate(names)}


class Failing(MemoryTransport):
    """Fails as a client with a bug would: with data in its message."""

    async def send(self, partition: int, batch: SealedBatch) -> None:
        raise RuntimeError(batch.value.decode())


def tell(producer: Producer) -> None:
    """Tells the canary in all ways."""
    for name, model in EVENT_TYPES.items():
        producer.track(model.model_construct(**everything(name)))
        fields: dict[str, Any] = {
            field: CANARY
            for field, info in model.model_fields.items()
            if info.annotation is str and field not in ("event_id", "event_type")
        }
        producer.track(model.model_construct(**fields))
    bound = producer.bind(**dict.fromkeys(("user_id", "tenant_id", CANARY), CANARY))
    with suppress(RuntimeError), bound.interaction(**everything("interaction")) as turn:
        turn.prompt(CANARY)
        turn.usage(**{CANARY: CANARY})
        turn.set(attributes={CANARY: CANARY}, error_message=CANARY)
        with turn.component(CANARY):
            raise RuntimeError(CANARY)
    with bound.interaction(user_id=CANARY, error_message=CANARY) as turn:
        turn.prompt(CANARY)


@pytest.mark.parametrize("transport", [MemoryTransport, Failing, None], ids=repr)
async def test_nothing_that_is_told_shows_in_logs_reprs_counts_or_health(
    transport: Any, said: pytest.LogCaptureFixture
) -> None:
    def mask(text: str) -> str:
        raise RuntimeError(text)

    def source() -> dict[str, Any]:
        raise RuntimeError(CANARY)

    carrier: Any = transport() if transport else None
    producer = Producer(
        "127.0.0.1:1",  # nobody listens there
        transport=carrier,
        content_transport=carrier and MemoryTransport(),
        health_interval_s=1,
        capture_content=True,
        mask=mask,
        user_id_key=KEY,
        sample_salt=CANARY,
    )
    producer.health_sources.append(source)
    tell(producer)
    await asyncio.sleep(1.1)
    shown = [repr(producer), repr(producer.settings), repr(producer.stats()), str(producer.stats())]
    await producer.close(0.5)

    assert all(CANARY not in each.replace(f"sample_salt='{CANARY}'", "") for each in shown)
    assert silent(said)
    if transport is MemoryTransport:
        health = [event for event in carrier.events() if isinstance(event, Health)]
        own = [event for event in health if event.final_seq or event.sdk_offered]
        assert own
        assert not any(CANARY in event.model_dump_json() for event in own)


def test_with_a_key_no_user_is_named_on_the_wire() -> None:
    transport = MemoryTransport()
    producer = Producer(transport=transport, user_id_key=KEY, health_interval_s=0)

    producer.bind(user_id=CANARY).track(Interaction())
    with producer.interaction(user_id=CANARY):
        pass
    with producer.context(user_id=CANARY), producer.llm_call("m"):
        pass
    producer.product("page", distinct_id=CANARY)
    producer.close_sync()

    wire = b"".join(record.value for records in transport.records for record in records)
    assert len(transport.events()) == 4
    assert CANARY.encode() not in wire
    assert not any(CANARY in str(r.headers) for records in transport.records for r in records)


@pytest.mark.parametrize("name", sorted(SettingsArguments.__annotations__))
def test_no_mistake_in_a_setting_shows_its_value(name: str) -> None:
    for value in (CANARY, f"{CANARY} : /", -7, f"{CANARY}\n" * 100):
        arguments: Any = {name: value}
        try:
            found = repr(ProducerSettings.load("k:1", environ={}, arguments=arguments))
        except SettingsError as error:
            found = repr(error) + str(error) + repr(error.mistakes)
        except (TypeError, AttributeError) as wrong_type:  # a bug of the caller's, at start
            found = repr(wrong_type)
        else:
            if name not in ("sasl_password", "ssl_key_password", "user_id_key"):
                continue
        assert CANARY not in found


@pytest.mark.parametrize("name", sorted(SettingsArguments.__annotations__))
def test_no_mistake_in_the_environment_shows_its_value(name: str) -> None:
    for prefix in ("BACKCHANNEL_", "BACKCHANNEL_KAFKA_"):
        found = ""
        try:
            ProducerSettings.load("k:1", environ={prefix + name.upper(): f"{CANARY} : /"})
        except SettingsError as error:
            found = repr(error) + str(error)
        assert CANARY not in found


def test_a_key_is_shown_by_no_repr() -> None:
    settings = ProducerSettings(
        kafka="k:1",
        user_id_key=SecretStr(KEY),
        security=KafkaSecurity(
            security_protocol="SASL_PLAINTEXT", sasl_username="u", sasl_password=CANARY
        ),
    )

    assert CANARY not in repr(settings) + str(settings) + repr(settings.user_id_key)
