"""`producer.metrics_app()`: scraped as Prometheus does, read as a person does."""

import sys

import pytest
from fastapi import FastAPI
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from backchannel import MemoryTransport, Producer
from backchannel.errors import SettingsError
from backchannel.events import Health, Product
from backchannel.integrations.asgi import BackchannelMiddleware
from backchannel.testing import ManualClock, RecordedEvents


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[name, frozenset(labels.items())]


@pytest.fixture
def client(backchannel_producer: Producer, backchannel_clock: ManualClock) -> TestClient:
    """Of an application whose bot has answered one question."""
    client = TestClient(backchannel_producer.metrics_app())
    turn = backchannel_producer.interaction(
        endpoint="/chat", http_method="POST", http_status=200, model="m"
    )
    with turn:
        with backchannel_producer.retrieval("faq"):
            backchannel_clock.advance(seconds=0.25)
        with backchannel_producer.llm_call("m", "openai") as call:
            backchannel_clock.advance(seconds=1.5)
            call.usage(input_tokens=120, output_tokens=30)
    backchannel_producer.track(Health(queues={"celery": 4}))
    backchannel_producer.flush_sync()
    return client


def test_prometheus_gets_the_metrics_by_their_names(client: TestClient) -> None:
    text = client.get("/metrics").text

    assert value(text, "chatbot_requests_total", endpoint="/chat", model="m", status="ok") == 1
    request = {"endpoint": "/chat", "method": "POST", "status_code": "200"}
    assert value(text, "http_request_duration_sum", **request) == 1.75
    assert value(text, "http_request_duration_bucket", le="1", **request) == 0
    assert value(text, "http_request_duration_bucket", le="2", **request) == 1
    model = {"provider": "openai", "model": "m"}
    assert value(text, "inference_latency_sum", operation="chat", **model) == 1.5
    assert value(text, "embedding_lookup_latency_sum", data_source="faq") == 0.25
    assert value(text, "token_usage_total", type="input", **model) == 120
    assert value(text, "token_usage_total", type="output", **model) == 30
    assert value(text, "queue_length", queue="celery") == 4


def test_it_gets_what_became_of_the_events_too(client: TestClient) -> None:
    text = client.get("/metrics").text

    assert value(text, "backchannel_events_offered_total") == 4
    assert value(text, "backchannel_events_acked_total") == 4
    assert value(text, "backchannel_events_held") == 0
    assert value(text, "requests_in_flight") == 0


def test_drops_are_told_by_reason(client: TestClient, backchannel_producer: Producer) -> None:
    backchannel_producer.close_sync()
    backchannel_producer.track(Product(name="too late"))

    text = client.get("/metrics").text
    assert value(text, "backchannel_events_dropped_total", reason="closed") == 1


def test_durations_say_their_unit(client: TestClient) -> None:
    helps = [line for line in client.get("/metrics").text.splitlines() if "# HELP" in line]

    timed = [line for line in helps if "_latency" in line or "_duration" in line]
    assert len(timed) == 3
    assert all(line.endswith("in seconds") for line in timed)


def test_who_asks_for_openmetrics_gets_it(client: TestClient) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    answer = client.get("/metrics", headers={"accept": accept})

    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = openmetrics.text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]  # it has no types
    names = {family.name for family in families}
    assert {"chatbot_requests", "token_usage", "queue_length"} <= names


def test_latencies_are_told_as_json_for_each_operation(client: TestClient) -> None:
    answer = client.get("/metrics/latency").json()

    assert answer["unit"] == "ms"
    assert answer["operations"]["total_request"] == {
        "count": 1,
        **dict.fromkeys(("mean", "median", "p95", "p99", "min", "max"), 1750),
    }
    assert {"llm_generation", "retrieval", "llm_call"} <= set(answer["operations"])


def test_it_can_be_mounted_in_an_application(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    app = FastAPI()
    app.mount("/metrics", backchannel_producer.metrics_app())
    app.add_middleware(BackchannelMiddleware, producer=backchannel_producer)
    client = TestClient(app)

    assert "chatbot_requests_total" in client.get("/metrics/").text
    assert client.get("/metrics/latency").json()["operations"] == {}
    assert client.get("/metrics/nothing").status_code == 404
    assert client.post("/metrics/").status_code == 405
    assert len(backchannel_events) == 0


def test_it_lives_alone_in_a_server(backchannel_producer: Producer) -> None:
    with TestClient(backchannel_producer.metrics_app()) as client:  # with a lifespan
        assert client.head("/metrics").text == ""


def test_a_view_of_the_producer_and_what_is_sampled_out_count_too() -> None:
    producer = Producer(transport=MemoryTransport(), sample_one_in=1_000)
    client = TestClient(producer.metrics_app())
    for number in range(50):
        with producer.bind(tenant_id="acme").interaction(conversation_id=f"c-{number}"):
            pass

    assert (
        value(
            client.get("/metrics").text,
            "chatbot_requests_total",
            endpoint="",
            model="",
            status="ok",
        )
        == 50
    )
    producer.close_sync()


def test_without_its_extra_it_says_which_one(
    backchannel_producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "backchannel.integrations.prometheus", None)

    with pytest.raises(SettingsError, match=r"backchannel\[prometheus\]"):
        backchannel_producer.metrics_app()


def test_whoever_does_not_ask_pays_nothing(backchannel_producer: Producer) -> None:
    backchannel_producer.track(Product(name="counted by nobody"))

    assert backchannel_producer._intake.observe is None
