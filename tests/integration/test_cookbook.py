"""Every question of docs/query.md, asked as it stands there, of a day counted by hand."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.prices import own_rates
from backchannel_deploy.prices.load import replace
from backchannel_deploy.prices.rows import own_rows
from support.rows_of_events import TABLES, insert_events, rows
from support.story import PRICES, story

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[2] / "docs" / "query.md"


def _questions(page: str) -> dict[str, str]:
    """The SQL below each heading."""
    found = {}
    for section in page.split("\n### ")[1:]:
        sql = re.search(r"```sql\n(.*?)```", section, re.DOTALL)
        assert sql is not None, section
        found[section.splitlines()[0]] = sql[1]
    return found


QUESTIONS = _questions(PAGE.read_text("utf-8"))

ANSWERS: dict[str, list[tuple[Any, ...]]] = {
    "Where does the time of a turn go?": [
        ("unaccounted", 11, 17_210.0, 99.5),
        ("llm_generation", 1, 70.0, 0.4),
        ("rag_retrieval", 1, 20.0, 0.1),
    ],
    "How long until the first token, by model?": [
        ("gpt-4o-mini", 1, False, 90.0, 90.0),
        ("gpt-4o", 1, False, 40.0, 40.0),
    ],
    "Is the error rate of a model really higher, or is that chance?": [
        ("gpt-4o", 8, 2, 0.071, 0.591),
        ("gpt-4o-mini", 2, 0, 0.0, 0.658),
        ("own-model", 1, 0, 0.0, 0.793),
    ],
    "Was anything lost on the way?": [("support", "gap", 1, 1, 0)],
    "Who is there right now?": [("acme", 2, 1, 0.2)],
    "What did each model cost yesterday?": [
        # 8 at $0.0035, and one of whose prompt 400 tokens came from a cache.
        ("gpt-4o", 9, Decimal("0.031"), pytest.approx(0.031 / 9), 98.7, 0),
        ("gpt-4o-mini", 2, Decimal("0.00042"), pytest.approx(0.00021), 1.3, 0),
        ("own-model", 1, Decimal(0), None, 0.0, 1),
    ],
    "What would the small model have cost for the simple questions?": [
        (2, Decimal("0.0135"), Decimal("0.00084"))
    ],
    "Which models have no price?": [("openai", "own-model", 1)],
    "How much of the prompt comes from a cache?": [
        ("gpt-4o", 400, 10_000, 0.04),
        ("gpt-4o-mini", 0, 2_000, 0.0),
        ("own-model", 0, 1_000, 0.0),
    ],
    "Which prompt version gives the better answers?": [("support", "1", 1, False, 0.3, 1)],
    "What breaks when users want a refund?": [("turn", "ToolError", 1, 1)],
    "Did the experiment change anything?": [
        ("control", "duration_ms", 6, 2_283.33, None, None, False),
        ("warm", "duration_ms", 5, 600.0, -1_683.33, False, False),
        ("control", "success", 6, 0.83, None, None, False),
        ("warm", "success", 5, 0.8, -0.03, False, False),
    ],
    "What happened in one turn, step by step?": [
        (0.0, "/chat", 100.0, "ok", 1_100),
        (10.0, "  kb", 20.0, "ok", 0),
        (30.0, "  llm_generation", 70.0, "ok", 0),
    ],
    "What do people use?": [("summarize", 1, 1)],
}


@pytest.fixture(scope="module")
def told(analyst_database: Client) -> Client:
    """A client of a database that holds the story."""
    for table in TABLES:
        analyst_database.command(f"TRUNCATE TABLE {table}")
    replace(analyst_database, "custom_table", own_rows(own_rates(PRICES)[0]))
    insert_events(analyst_database, story())
    return analyst_database


def test_the_page_keeps_its_word() -> None:
    assert len(QUESTIONS) == 30
    assert set(ANSWERS) <= set(QUESTIONS)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda each: each[:40])
def test_the_sql_of_the_page_answers_its_question(told: Client, question: str) -> None:
    found = [tuple(row.values()) for row in rows(told, QUESTIONS[question])]

    assert found
    if question in ANSWERS:
        assert found == ANSWERS[question]


def test_failed_requests_are_counted_by_result_code(told: Client) -> None:
    found = rows(told, QUESTIONS["Which requests failed, by result code?"])

    assert {row["result_code"]: row["failed"] for row in found} == {500: 1, 504: 1}
