"""Every measure of a window is what SQL finds in the events: sums, buckets, registers, extremes."""

from random import Random

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import (
    Document,
    ErrorEvent,
    Evaluation,
    Event,
    Feedback,
    Health,
    Interaction,
    LlmCall,
    Retrieval,
    ToolCall,
    Window,
    encode_event,
    open_batch,
    seal,
)
from backchannel_processors.counting import counted
from backchannel_processors.measures import Measures
from backchannel_processors.observations import read
from backchannel_processors.rows import Identity, Standing, row, seal_rows
from support.interactions import NOON_US
from support.rows_of_events import SETTINGS, insert_events, rows

pytestmark = pytest.mark.integration

DISTRIBUTION = """(sum(sample_weight), sum({0} * sample_weight), min({0}), max({0}),
    sumMap(map(bc_bucket({0}), toUInt64(sample_weight))))"""
FAILED = "status IN ('error', 'timeout', 'rate_limited')"
TURN, CALL, SEARCH, TOOL = (
    f"event_type = '{kind}'" for kind in ("interaction", "llm_call", "retrieval", "tool_call")
)
GENERATION = "(toInt64(duration_us) - toInt64(ifNull(ttft_us, 0)))"
UNPRICED = (
    "cost_picousd IS NULL AND cost_status != 'not_applicable' AND input_tokens + output_tokens > 0"
)

SUMS = {
    "count": (TURN, "1"),
    "errors": (f"{TURN} AND {FAILED}", "1"),
    "http_4xx": (f"{TURN} AND intDiv(http_status, 100) = 4", "1"),
    "http_5xx": (f"{TURN} AND http_status >= 500", "1"),
    "cache_read_tokens": (TURN, "cache_read_tokens"),
    "cache_write_tokens": (TURN, "cache_write_tokens"),
    "reasoning_tokens": (TURN, "reasoning_tokens"),
    "cost_picousd": (TURN, "toUInt128(ifNull(cost_picousd, 0))"),
    "priced": (f"{TURN} AND cost_picousd IS NOT NULL", "1"),
    "unpriced": (f"{TURN} AND {UNPRICED}", "1"),
    "fallbacks": (f"{TURN} AND fallback_used", "1"),
    "cache_hits": (f"{TURN} AND cache_hit", "1"),
    "cache_lookups": (f"{TURN} AND cache_hit IS NOT NULL", "1"),
    "generated_tokens": (f"{TURN} AND {GENERATION} > 0", "output_tokens"),
    "generation_us": (f"{TURN} AND {GENERATION} > 0 AND output_tokens > 0", GENERATION),
    "llm_errors": (f"{CALL} AND {FAILED}", "1"),
    "llm_retries": (CALL, "retries"),
    "llm_input_tokens": (CALL, "input_tokens"),
    "llm_cost_picousd": (CALL, "toUInt128(ifNull(cost_picousd, 0))"),
    "llm_unpriced": (f"{CALL} AND {UNPRICED}", "1"),
    "retrieval_errors": (f"{SEARCH} AND {FAILED}", "1"),
    "retrieval_empty": (f"{SEARCH} AND status = 'ok' AND empty(documents)", "1"),
    "tool_errors": (f"{TOOL} AND {FAILED}", "1"),
    "evaluation_errors": ("event_type = 'evaluation' AND status = 'error'", "1"),
    "exceptions": ("event_type = 'error' AND level IN ('error', 'fatal')", "1"),
}
DISTRIBUTIONS = {
    "ttft": (f"{TURN} AND ttft_us IS NOT NULL", "assumeNotNull(ttft_us)"),
    "llm_latency": (CALL, "duration_us"),
    "llm_ttft": (f"{CALL} AND ttft_us IS NOT NULL", "assumeNotNull(ttft_us)"),
    "output_rate": (
        f"{CALL} AND output_tokens > 0 AND {GENERATION} > 0",
        f"toUInt64(intDiv(toUInt128(output_tokens) * 1000000000, toUInt64({GENERATION})))",
    ),
    "retrieval_latency": (SEARCH, "duration_us"),
    "retrieval_score": (
        f"{SEARCH} AND arrayExists(d -> d.2 IS NOT NULL, documents)",
        "toUInt64(greatest(0, arrayMax(d -> ifNull(d.2, -1), documents)))",
    ),
    "tool_latency": (TOOL, "duration_us"),
}


def some_events(chance: Random) -> list[Event]:
    def envelope() -> dict[str, object]:
        return {
            "ts_us": NOON_US + chance.randrange(10_000_000),
            "user_id": chance.choice(("", *(f"user-{n}" for n in range(300)))),
            "sample_weight": chance.choice((1, 1, 1, 7)),
        }

    def status() -> str:
        return chance.choice(("ok", "ok", "error", "timeout", "cancelled", "blocked"))

    def metered() -> dict[str, object]:
        return {
            "duration_us": chance.randrange(5_000_000),
            "ttft_us": chance.choice((None, chance.randrange(900_000))),
            "input_tokens": chance.randrange(500),
            "output_tokens": chance.choice((0, chance.randrange(200))),
            "cache_read_tokens": chance.randrange(9),
            "reasoning_tokens": chance.randrange(9),
            "cost_picousd": chance.choice((None, 2**63 - 1 - chance.randrange(9))),
            "cost_status": chance.choice(("", "not_applicable")),
            "status": status(),
        }

    made: list[Event] = []
    for _ in range(400):
        made += [
            Interaction.model_validate(
                envelope()
                | metered()
                | {
                    "http_status": chance.choice((None, 200, 404, 503)),
                    "components": {"rag": chance.randrange(9_000)} if chance.random() < 0.5 else {},
                    "fallback_used": chance.random() < 0.1,
                    "cache_hit": chance.choice((None, True, False)),
                }
            ),
            LlmCall.model_validate(envelope() | metered() | {"retries": chance.randrange(3)}),
        ]
    for _ in range(50):
        documents = tuple(
            Document(score=chance.choice((None, chance.randrange(-9, 10**6))))
            for _ in range(chance.randrange(4))
        )
        duration = {"duration_us": chance.randrange(10**6), "status": status()}
        made += [
            Retrieval.model_validate(envelope() | duration | {"documents": documents}),
            ToolCall.model_validate(envelope() | duration),
            Evaluation.model_validate(
                envelope() | {"name": chance.choice("ab"), "value": chance.randrange(-9, 9)}
            ),
            Evaluation.model_validate(envelope() | {"name": "a", "status": "error"}),
            Feedback.model_validate(envelope() | {"kind": "rating", "value": chance.randrange(5)}),
            Health.model_validate(envelope() | {"queues": {"mail": chance.randrange(99)}}),
            ErrorEvent.model_validate(envelope() | {"level": chance.choice(("info", "fatal"))}),
        ]
    return made


@pytest.fixture
def window(analyst: Client) -> Window:
    """The window of some events; both stand in their tables."""
    made = some_events(Random(1))
    insert_events(analyst, made, broker_us=SYSTEM_CLOCK.now_us())
    sealed = seal([encode_event(event) for event in made], producer_id="bot", pseq=1)
    measures = Measures()
    for tally in counted(read(open_batch(sealed.value, sealed.headers)).observations):
        measures.take([tally])
    standing = Standing(final=True, certain=True, complete=True)
    identity = Identity("live", "", (), 10, NOON_US // 1_000_000)
    found = row(identity, measures, 1, standing, SYSTEM_CLOCK.now_us())
    line = seal_rows([found]).value
    analyst.raw_insert("metric_windows", insert_block=line, fmt="JSONEachRow", settings=SETTINGS)
    return Window.model_validate_json(line)


def test_every_measure_is_what_sql_finds_in_the_events(analyst: Client, window: Window) -> None:
    asked = [
        f"sumIf({value} * sample_weight, {where}) AS found_{name}"
        for name, (where, value) in SUMS.items()
    ]
    (found,) = rows(analyst, f"SELECT {', '.join(asked)} FROM events")
    assert {f"found_{name}": getattr(window, name) for name in SUMS} == found
    for name, (where, value) in DISTRIBUTIONS.items():
        sql = f"SELECT {DISTRIBUTION.format(value)} AS found FROM events WHERE {where}"
        count, total, least, most, buckets = rows(analyst, sql)[0]["found"]
        told = getattr(window, name).model_dump()
        assert [*told.values()] == [count, total, least, most, buckets], name


def test_components_scores_and_registers_are_what_sql_finds(
    analyst: Client, window: Window
) -> None:
    rest = "toUInt64(greatest(0, toInt64(duration_us) - toInt64(arraySum(mapValues(components)))))"
    where = f"{TURN} AND notEmpty(components)"
    for name, value in (("rag", "components['rag']"), ("__unaccounted__", rest)):
        sql = f"SELECT {DISTRIBUTION.format(value)} AS found FROM events WHERE {where}"
        found = rows(analyst, sql)[0]["found"]
        assert [*window.components[name].model_dump().values()] == [*found]
    scores = rows(
        analyst,
        "SELECT name, sum(sample_weight) AS n, sum(value * sample_weight) AS total FROM events"
        " WHERE event_type = 'evaluation' AND status = 'ok' GROUP BY name",
    )
    assert {each["name"]: (each["n"], each["total"]) for each in scores} == {
        name: (score.count, score.sum) for name, score in window.evaluations.items()
    }
    registers = rows(
        analyst,
        "SELECT maxMap(map(toUInt16(bitShiftRight(h, 52)), toUInt8(53 - if(r = 0, 0,"
        " toUInt8(floor(log2(r))) + 1)))) AS users FROM (SELECT xxHash64(user_id) AS h,"
        f" bitAnd(h, bitShiftLeft(toUInt64(1), 52) - 1) AS r FROM events WHERE {TURN}"
        " AND user_id != '')",
    )
    assert registers[0]["users"] == window.users


def test_a_window_keeps_all_its_measures_in_its_table(analyst: Client, window: Window) -> None:
    (stored,) = rows(analyst, "SELECT * FROM metric_windows FINAL")
    told = window.model_dump()
    for name in ("window_start", "published_at_us", "newest_event_at_us", "errors_by_type"):
        told.pop(name)
    assert {name: stored[name] for name in told} == {
        name: list(value) if isinstance(value, tuple) else value for name, value in told.items()
    }


def test_views_of_windows_say_what_the_views_of_events_say(analyst: Client, window: Window) -> None:
    cost = "SELECT sum(cost_picousd) AS cost, sum(unpriced) AS unpriced FROM "
    assert rows(analyst, cost + "v_cost_windows") == rows(
        analyst, cost + "v_cost_by_model WHERE event_type = 'interaction'"
    )
    ttft = "SELECT sum({0} * mean_ms) AS ms, sum({0}) AS turns, max(max_ms) AS most FROM {1}"
    for kind in ("interaction", "llm_call"):
        where = f" WHERE event_type = '{kind}'"
        (told,) = rows(analyst, ttft.format("n", "v_ttft_windows") + where)
        (raw,) = rows(analyst, ttft.format("count", "v_ttft") + where)
        assert told == pytest.approx(raw)
    parts = "SELECT sum({0}) AS turns, sum(total_ms) AS ms FROM {1} WHERE component = 'rag'"
    (told,) = rows(analyst, parts.format("n", "v_component_windows"))
    (raw,) = rows(analyst, parts.format("count", "v_component_breakdown"))
    assert told == pytest.approx(raw)
    percentiles = rows(
        analyst,
        "SELECT p50_ms, p95_ms, bc_quantile(buckets, 500) / 1000 AS middle, share"
        " FROM v_component_windows WHERE component = 'unaccounted'",
    )
    assert percentiles[0]["p50_ms"] == percentiles[0]["middle"]
    assert 0 < percentiles[0]["share"] < 1


def test_columns_of_windows_are_the_fields_of_the_model(analyst: Client) -> None:
    columns = rows(
        analyst,
        "SELECT name, comment FROM system.columns WHERE database = currentDatabase()"
        " AND table = 'metric_windows' AND default_kind = ''",
    )
    named = {each["name"] for each in columns if not each["name"].startswith("_")}
    assert named == set(Window.model_fields)
    assert all(each["comment"] for each in columns)
