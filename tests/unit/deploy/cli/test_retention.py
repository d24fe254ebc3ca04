"""How long tables keep their rows: what a file says, as clauses of a TTL."""

from typing import Any

import pytest

from backchannel_deploy.cli.retention import read_rules, ttl
from backchannel_deploy.errors import UserError


def test_a_table_keeps_its_rows_for_the_days_of_the_file() -> None:
    rules = read_rules({"days": {"dead_letters": 30}}, "file")

    assert ttl("dead_letters", rules) == (
        "ALTER TABLE dead_letters MODIFY TTL\n    toDateTime(broker_time) + INTERVAL 30 DAY"
    )


def test_a_tenant_may_be_kept_longer_than_the_others() -> None:
    rules = read_rules({"days": {"events": 30}, "tenants": {"o'b": {"events": 90}}}, "file")

    assert [rule.clause for rule in rules] == [
        "toDateTime(_broker_time) + INTERVAL 30 DAY DELETE WHERE tenant_id NOT IN ('o\\'b')",
        "toDateTime(_broker_time) + INTERVAL 90 DAY DELETE WHERE tenant_id = 'o\\'b'",
    ]


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"day": {}}, r"\[day\] is neither"),
        ({"days": 3}, "must be a table of days"),
        ({"days": {"event": 1}}, "event is none of events"),
        ({"days": {"events": 0}}, "from 1 to"),
        ({"days": {"events": True}}, "from 1 to"),
        ({"days": {"windows": 9}}, "must have windows_below_a_minute too"),
        ({"tenants": {"a": {"events": 1}}}, r"\[days\] must have it too"),
        (
            {"days": {"dead_letters": 1}, "tenants": {"a": {"dead_letters": 1}}},
            "belongs to no tenant",
        ),
    ],
)
def test_a_mistake_in_the_file_is_told_in_a_sentence(told: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read_rules(told, "file")
