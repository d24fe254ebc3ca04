"""The evidence that a shipped rule gives is SQL that runs, and finds what the rule is about."""

from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Event, Feedback, Health, Interaction, Security
from backchannel_processors.annotations import fill, sql_text
from backchannel_processors.groupings import Groupings
from backchannel_processors.rule import AnyRule
from backchannel_processors.rules import load_rules
from backchannel_processors.settings import WorkerSettings
from backchannel_processors.worker import shipped_rules
from support.rows_of_events import insert_events

pytestmark = pytest.mark.integration

RULES = load_rules(shipped_rules(), Groupings.parse(WorkerSettings().groupings)).all
NOW_US = SYSTEM_CLOCK.now_us()
OF_NOBODY = ("records-lost",)
"""There is a row only when something is missing."""


@pytest.fixture(scope="module")
def told(analyst_database: Client) -> Client:
    """A database in which tenant ``o'hare`` has everything that rules are about."""
    said: dict[str, Any] = {"ts_us": NOW_US, "tenant_id": "o'hare"}
    turn = {"endpoint": "/c", "model": "m", "status": "error", "input_tokens": 5_000}
    events: list[Event] = [
        Interaction.model_validate(said | turn | {"conversation_id": "c", "duration_us": 9}),
        Interaction.model_validate(
            said | turn | {"cost_status": "unpriced", "conversation_id": "c"}
        ),
        Feedback.model_validate(said | {"kind": "rating", "value": 1_000_000}),
        Health.model_validate(said | {"cpu": 900_000, "queues": {"mail": 200}}),
        Security.model_validate(
            said | {"kind": "login", "outcome": "blocked", "principal_hash": "p"}
        ),
    ]
    analyst_database.command("TRUNCATE TABLE events")
    insert_events(analyst_database, events)
    return analyst_database


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.name))
def test_the_evidence_of_a_rule_finds_what_it_is_about(told: Client, rule: AnyRule) -> None:
    values = {"tenant": "o'hare", "endpoint": "/c", "model": "m"}
    blanks = {name: sql_text(value) for name, value in values.items()}
    since_s = NOW_US // 1_000_000 - 60
    sql = fill(rule.annotations["evidence"], blanks | {"from": str(since_s)})
    assert "{{" not in sql
    found = told.query(sql).result_rows
    assert found or rule.name in OF_NOBODY
