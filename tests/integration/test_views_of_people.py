"""How people use the product, and what was done, in SQL, on data whose answer is known."""

from decimal import Decimal
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Erasure, Feedback, Interaction, Marker, Product, Security
from support.rows_of_events import insert_events, rows

pytestmark = pytest.mark.integration

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
MIDNIGHT_US = SYSTEM_CLOCK.now_us() // DAY_US * DAY_US
NOON_US = MIDNIGHT_US - DAY_US // 2
MONDAY_US = (MIDNIGHT_US // DAY_US - (MIDNIGHT_US // DAY_US + 3) % 7 - 28) * DAY_US
"""A Monday four weeks ago: 1970-01-01 was a Thursday."""


def turn(**fields: Any) -> Interaction:
    known = {"ts_us": NOON_US, "tenant_id": "acme"}
    return Interaction.model_validate({**known, **fields})


def click(name: str, at_s: int = 0, **fields: Any) -> Product:
    known = {"ts_us": NOON_US + at_s * SECOND_US, "tenant_id": "acme", "name": name}
    return Product.model_validate({**known, "session_id": "s", "distinct_id": "d", **fields})


def test_active_users_are_those_of_a_day_a_week_and_a_month(analyst: Client) -> None:
    days_ago = {"a": (0, 3, 20), "b": (6,), "c": (7,), "d": (29,), "e": (30,)}
    insert_events(
        analyst,
        [
            turn(ts_us=NOON_US - ago * DAY_US, user_id=user)
            for user, all_days in days_ago.items()
            for ago in all_days
        ],
    )

    day = rows(analyst, "SELECT * FROM v_active_users WHERE day = yesterday()")[0]

    assert (day["dau"], day["wau"], day["mau"], day["turns"]) == (1, 2, 4, 1)
    assert day["stickiness"] == 0.25


def test_retention_follows_a_week_of_new_users(analyst: Client) -> None:
    def active(user: str, *weeks: int) -> list[Interaction]:
        return [turn(ts_us=MONDAY_US + week * 7 * DAY_US, user_id=user) for week in weeks]

    insert_events(analyst, [*active("a", 0, 1, 2), *active("b", 0, 2), *active("c", 1)])

    found = rows(analyst, "SELECT * FROM v_retention ORDER BY cohort_week, weeks_later")

    told = [(r["weeks_later"], r["users"], r["returned"], r["rate"]) for r in found]
    assert told == [(0, 2, 2, 1.0), (1, 2, 1, 0.5), (2, 2, 2, 1.0), (0, 1, 1, 1.0)]


def test_the_chat_funnel_counts_how_far_sessions_come(analyst: Client) -> None:
    thanks = Feedback(
        ts_us=NOON_US + SECOND_US, tenant_id="acme", session_id="s4", kind="thumb", value=SECOND_US
    )
    insert_events(
        analyst,
        [
            *(click("chat_started", session_id=f"s{n}") for n in (1, 2, 3, 4)),
            turn(session_id="s2", status="error"),
            turn(session_id="s3"),
            turn(session_id="s4"),
            thanks,
        ],
    )

    row = rows(analyst, "SELECT * FROM v_funnel_chat")[0]

    told = (row["started"], row["messaged"], row["answered"], row["judged"])
    assert told == (4, 3, 2, 1)
    assert (row["messaged_rate"], row["judged_rate"]) == (0.75, 0.5)


def test_a_funnel_has_steps_of_ones_own(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            *(click("signup", 0, distinct_id=who) for who in "abcd"),
            *(click("upload", 60, distinct_id=who) for who in "ab"),
            click("upload", 3 * 3_600, distinct_id="c"),
            click("share", 30, distinct_id="b"),
            click("share", 90, distinct_id="a"),
        ],
    )

    found = rows(
        analyst,
        "SELECT name, people, of_first, of_previous FROM v_funnel("
        "steps = ['signup', 'upload', 'share'], since = '2020-01-01', hours = 1) ORDER BY step",
    )
    assert [tuple(r.values()) for r in found] == [
        ("signup", 4, 1.0, 1.0),
        ("upload", 2, 0.5, 0.5),
        ("share", 1, 0.25, 0.5),
    ]


def test_flows_tell_where_people_go_next(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            click("home"),
            click("docs", 1),
            click("home", 2),
            click("home", session_id="s2", distinct_id="e"),
        ],
    )

    found = rows(
        analyst,
        "SELECT from_name, to_name, count, people, share FROM v_flows"
        " ORDER BY from_name, count DESC, to_name",
    )
    assert [tuple(r.values()) for r in found] == [
        ("", "home", 2, 2, 1.0),
        ("docs", "home", 1, 1, 1.0),
        ("home", "", 2, 2, pytest.approx(2 / 3)),
        ("home", "docs", 1, 1, pytest.approx(1 / 3)),
    ]


def test_who_looks_at_one_page_and_says_nothing_has_bounced(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            click("home", session_id="bounced"),
            click("home", session_id="talks"),
            turn(session_id="talks"),
            click("home", session_id="looks"),
            click("docs", 1, session_id="looks"),
        ],
    )

    row = rows(analyst, "SELECT sessions, bounced, rate, enough FROM v_bounce")[0]
    assert row == {"sessions": 3, "bounced": 1, "rate": pytest.approx(1 / 3), "enough": False}


def test_features_are_told_with_their_share_of_people(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            click("click", feature="summarize"),
            click("click", 1, feature="summarize", sample_weight=4),
            click("dark_mode", distinct_id="e"),
        ],
    )

    found = rows(
        analyst, "SELECT feature, uses, people, share_of_people FROM v_feature_usage ORDER BY uses"
    )
    assert [tuple(r.values()) for r in found] == [
        ("dark_mode", 1, 1, 0.5),
        ("summarize", 5, 1, 0.5),
    ]


def test_the_week_stands_in_one_row(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            turn(duration_us=1_000_000, user_id="u", input_tokens=4, cost_picousd=5 * 10**11),
            turn(duration_us=3_000_000, status="error", fallback_used=True, output_tokens=1),
        ],
    )

    row = rows(analyst, "SELECT * FROM v_kpi")[0]

    assert (row["turns"], row["users"], row["success_rate"], row["p50_ms"]) == (2, 1, 0.5, 1000)
    assert (row["tokens"], row["cost_usd"], row["unpriced"]) == (5, Decimal("0.5"), 1)


def test_an_erasure_is_done_when_no_row_is_left(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            turn(user_id="u1"),
            turn(user_id="u3"),
            *(
                Erasure(subject="user", subject_key=user, requested_at_us=NOON_US)
                for user in ("u1", "u2")
            ),
        ],
    )

    found = rows(
        analyst, "SELECT subject_key, rows_left, done FROM v_erasures ORDER BY subject_key"
    )
    assert [tuple(r.values()) for r in found] == [("u1", 1, False), ("u2", 0, True)]


def test_what_was_done_stands_in_one_list(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            Marker(kind="deploy", title="v2", user_id="ann"),
            Security(kind="login", outcome="blocked", principal_hash="h"),
        ],
    )
    analyst.command("INSERT INTO prices (provider, model, price_version) VALUES ('o', 'm', '7')")

    found = rows(
        analyst,
        "SELECT action, what, outcome, actor, detail FROM v_audit"
        " WHERE action != 'migration' ORDER BY action",
    )
    assert [tuple(r.values()) for r in found] == [
        ("marker", "deploy", "", "ann", "v2"),
        ("prices", "", "", "", "7: 1 prices"),
        ("security", "login", "blocked", "h", ""),
    ]
    assert rows(analyst, "SELECT min(detail) AS first FROM v_audit WHERE action = 'migration'") == [
        {"first": "0001 events"}
    ]
