"""`backchannel report`: figures for people, from one question each."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table

from backchannel_deploy.cli.clickhouse import connected
from backchannel_deploy.cli.tables import for_people
from backchannel_deploy.errors import UserError

__all__ = ["summary"]

# A dot in a name makes an object of what stands before it.
_SUMMARY = """
WITH
    turns AS
    (
        SELECT *, status IN ('error', 'timeout', 'rate_limited') AS failed FROM v_events
        WHERE event_type = 'interaction' AND origin = 'live'
            AND ts >= now() - toIntervalHour({hours:UInt32})
    ),
    ratings AS
    (
        SELECT count() AS n, avgOrNull(value) AS mean FROM v_judgements
        WHERE event_type = 'feedback' AND name = 'rating' AND origin = 'live'
            AND value IS NOT NULL AND ts >= now() - toIntervalHour({hours:UInt32})
    ),
    costs AS
    (
        SELECT
            toFloat64(sum(ifNull(cost_picousd, 0) * sample_weight)) / 1e12 AS total_usd,
            total_usd / nullIf(sumIf(sample_weight, cost_picousd IS NOT NULL), 0) AS mean_usd,
            sumIf(sample_weight, cost_status = 'unpriced') AS unpriced
        FROM v_cost
        WHERE event_type = 'interaction' AND origin = 'live'
            AND ts >= now() - toIntervalHour({hours:UInt32})
    )
SELECT
    {hours:UInt32} AS hours,
    sum(sample_weight) AS `traffic.turns`,
    count() AS `traffic.n`,
    uniqExactIf(user_id, user_id != '') AS `traffic.users`,
    uniqExactIf(conversation_id, conversation_id != '') AS `traffic.conversations`,
    avgWeighted(duration_us, sample_weight) / 1000 AS `response_time.mean_ms`,
    quantileExactWeightedOrNull(0.5)(duration_us, sample_weight) / 1000
        AS `response_time.median_ms`,
    quantileExactWeightedOrNull(0.95)(duration_us, sample_weight) / 1000
        AS `response_time.p95_ms`,
    quantileExactWeightedOrNull(0.99)(duration_us, sample_weight) / 1000
        AS `response_time.p99_ms`,
    minOrNull(duration_us) / 1000 AS `response_time.min_ms`,
    maxOrNull(duration_us) / 1000 AS `response_time.max_ms`,
    sum((input_tokens + output_tokens) * sample_weight) AS `token_usage.total`,
    avgWeighted(input_tokens + output_tokens, sample_weight) AS `token_usage.mean`,
    maxOrNull(input_tokens + output_tokens) AS `token_usage.max`,
    sumIf(sample_weight, failed) AS `error_rate.errors`,
    `error_rate.errors` / sum(sample_weight) AS `error_rate.rate`,
    bc_wilson_low(countIf(failed), count()) AS `error_rate.low`,
    bc_wilson_high(countIf(failed), count()) AS `error_rate.high`,
    (SELECT n FROM ratings) AS `user_satisfaction.n`,
    (SELECT mean FROM ratings) AS `user_satisfaction.mean_rating`,
    countIf(conversation_id != '') / nullIf(`traffic.conversations`, 0)
        AS `conversation_length.mean_turns`,
    (SELECT total_usd FROM costs) AS `cost.total_usd`,
    (SELECT mean_usd FROM costs) AS `cost.mean_usd`,
    (SELECT unpriced FROM costs) AS `cost.unpriced`
FROM turns
"""


def summary(*, hours: int = 24, as_json: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """Sum up the last hours: traffic, response time, tokens, errors, satisfaction, cost.

    Parameters
    ----------
    hours
        How far back; live turns only.
    as_json
        Print JSON. What is not known is null.
    """
    if hours < 1:
        raise UserError("--hours must be at least 1.")
    with connected() as client:
        answer = client.raw_query(
            _SUMMARY,
            parameters={"hours": hours},
            settings={
                "output_format_json_quote_64bit_integers": 0,
                "output_format_json_quote_denormals": 0,  # nan of no turns becomes null
            },
            transport_settings={"X-ClickHouse-Format": "JSONEachRow"},
        )
    found = _nested(json.loads(answer))
    if as_json:
        print(json.dumps(found, indent=2))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for topic, figures in found.items():
        if isinstance(figures, dict):
            told = "  ".join(f"{name} {_shown(value)}" for name, value in figures.items())
        else:
            told = _shown(figures)
        table.add_row(topic, told)
    for_people().print(table)


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in flat.items():
        topic, _, figure = name.partition(".")
        if figure:
            found.setdefault(topic, {})[figure] = value
        else:
            found[topic] = value
    return found


def _shown(figure: object) -> str:
    if figure is None:
        return "–"
    if isinstance(figure, float):
        return f"{figure:,.4g}" if abs(figure) < 1_000 else f"{figure:,.0f}"
    return f"{figure:,}"
