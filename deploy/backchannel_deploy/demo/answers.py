"""What the demo asks ClickHouse: an analyst's questions, and the same events counted twice."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

__all__ = ["QUESTIONS", "Answer", "Answers", "Proof", "Question"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its SQL."""

    text: str
    sql: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What ClickHouse says."""

    question: Question
    columns: Sequence[dict[str, str]]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Proof:
    """The same events, counted three times."""

    sent: int
    """By the producer's own count."""
    stored: int
    in_windows: int

    @property
    def holds(self) -> bool:
        return self.sent == self.stored == self.in_windows


# {since} is the first minute of the demo.
QUESTIONS = (
    Question(
        "How fast did the bots of each tenant answer (milliseconds)?",
        """\
SELECT formatDateTime(window_start, '%H:%i') AS minute, tenant, count,
       round(p50_ms) AS p50, round(p95_ms) AS p95, round(p99_ms) AS p99
FROM v_latency
WHERE grouping = 'tenant' AND window_s = 60 AND origin = 'live'
  AND window_start >= '{since}'
ORDER BY minute, tenant""",
    ),
    Question(
        "What failed most?",
        """\
SELECT tenant, model, sum(n) AS turns, sum(errors) AS failed,
       round(100 * failed / turns, 1) AS percent
FROM v_error_rate
WHERE grouping = 'tenant,endpoint,model' AND window_s = 60 AND origin = 'live'
  AND window_start >= '{since}'
GROUP BY tenant, model ORDER BY percent DESC LIMIT 4""",
    ),
    Question(
        "Which model takes how many tokens?",
        """\
SELECT model, sum(input_tokens) AS tokens_in, sum(output_tokens) AS tokens_out,
       round(sum(total_tokens) / sum(count)) AS tokens_a_turn
FROM v_tokens
WHERE grouping = 'tenant,endpoint,model' AND window_s = 60 AND origin = 'live'
  AND window_start >= '{since}'
GROUP BY model ORDER BY tokens_in DESC""",
    ),
    Question(
        "Where does the time of a turn go? (from the raw events)",
        """\
SELECT tenant_id AS tenant, count() AS turns,
       round(avg(components['rag_retrieval']) / 1e3) AS retrieval_ms,
       round(avg(components['llm_generation']) / 1e3) AS llm_ms
FROM events
WHERE event_type = 'interaction' AND _origin = 'live'
  AND ts >= '{since}'
GROUP BY tenant ORDER BY llm_ms DESC""",
    ),
)

_STORED = "SELECT count() FROM events WHERE producer_id = {producer_id:String}"

# Windows know no producer: what others sent in the same minutes is in both counts below.
_MINUTES = """
SELECT
  (SELECT count() FROM events
   WHERE _origin = 'live' AND event_type = 'interaction' AND ts_us >= {since_s:Int64} * 1000000),
  (SELECT sum(count) FROM metric_windows FINAL
   WHERE origin = 'live' AND grouping = 'tenant,endpoint,model' AND window_s = 60
     AND window_start >= toDateTime({since_s:Int64}))
"""
_WINDOW_S = 60


class Answers:
    """Asks through one client. Blocks; not for two threads at once."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def ask(self, question: Question, since_us: int) -> Answer:
        """Returns the answer as ClickHouse words it, with the SQL as it was asked."""
        since = datetime.fromtimestamp(_minute_s(since_us), UTC)
        asked = replace(question, sql=question.sql.format(since=f"{since:%Y-%m-%d %H:%M:%S}"))
        as_json = {"X-ClickHouse-Format": "JSONCompact"}
        answer = json.loads(self._client.raw_query(asked.sql, transport_settings=as_json))
        return Answer(asked, answer["meta"], answer["data"])

    def stored(self, producer_id: str) -> int:
        """Returns how many of a producer's events are in the table."""
        return int(self._row(_STORED, producer_id=producer_id)[0])

    def proof(self, producer_id: str, sent: int, since_us: int) -> Proof:
        """Counts a producer's events since an instant in the table and in windows of a minute."""
        stored = self.stored(producer_id)
        of_all, in_windows = self._row(_MINUTES, since_s=_minute_s(since_us))
        return Proof(sent, stored, int(in_windows) - (int(of_all) - stored))

    def _row(self, sql: str, **parameters: object) -> Sequence[Any]:
        return self._client.query(sql, parameters=parameters).result_rows[0]


def _minute_s(at_us: int) -> int:
    return at_us // 1_000_000 // _WINDOW_S * _WINDOW_S
