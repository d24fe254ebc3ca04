"""Rules files: what is wrong is said with file, rule, field and fix."""

from pathlib import Path

import pytest

from backchannel_processors.errors import RulesError
from backchannel_processors.groupings import Groupings
from backchannel_processors.rule import (
    BudgetRule,
    BurnRateRule,
    NoDataRule,
    RatioRule,
    ThresholdRule,
)
from backchannel_processors.rules import LIMITS_MAX, load_rules, parse_rules
from backchannel_processors.worker import shipped_rules

GROUPINGS = Groupings.parse(("", "tenant", "tenant,endpoint,model"))
GOOD = '[[rule]]\nname = "many"\nmetric = "count"\nthreshold = 5\n'
BURN = '[[rule]]\nname = "burn"\nkind = "burn_rate"\nobjective = 0.99\n'
BUDGET = (
    '[[rule]]\nname = "spent"\nkind = "budget"\nmetric = "tokens"\nthreshold = 9\nperiod = "day"\n'
)
SILENT = '[[rule]]\nname = "silent"\nkind = "no_data"\n'
RATIO = '[[rule]]\nname = "part"\nkind = "ratio"\nthreshold = 0.1\n'


def test_the_rules_that_come_along_are_good() -> None:
    rules = load_rules(shipped_rules(), GROUPINGS)
    assert {rule.kind for rule in rules.all} >= {"threshold", "burn_rate", "budget", "no_data"}


def test_a_rule_has_defaults() -> None:
    (rule,) = parse_rules(GOOD, GROUPINGS, source="x").all
    assert isinstance(rule, ThresholdRule)
    assert (rule.op, rule.window_s, rule.grouping, rule.severity) == (">", 60, "tenant", "warning")
    assert (rule.for_s, rule.keep_firing_for_s, rule.clear_threshold) == (0, 0, None)


def test_every_kind_is_read() -> None:
    text = GOOD + RATIO + 'metric = "errors"\n' + BURN + BUDGET + SILENT
    kinds = [type(rule) for rule in parse_rules(text, GROUPINGS, source="x").all]
    assert kinds == [ThresholdRule, RatioRule, BurnRateRule, BudgetRule, NoDataRule]


def test_times_are_written_as_people_say_them() -> None:
    text = GOOD + 'window = "1m30s"\nfor = "30s"\nkeep_firing_for = "1h"'
    (rule,) = parse_rules(text, GROUPINGS, source="x").all
    assert (rule.window_s, rule.for_s, rule.keep_firing_for_s) == (90, 30, 3_600)


def test_a_rule_is_about_the_series_that_it_says() -> None:
    (rule,) = parse_rules(GOOD + 'where.tenant = ["a", "b"]', GROUPINGS, source="x").all
    assert [rule.covers((name,)) for name in ("a", "b", "c")] == [True, True, False]


def test_without_windows_a_burn_rate_has_those_of_the_workbook() -> None:
    (rule,) = parse_rules(BURN, GROUPINGS, source="x").all
    assert isinstance(rule, BurnRateRule)
    assert [(pair.long_s, pair.short_s, pair.factor) for pair in rule.windows] == [
        (3_600, 300, 14.4),
        (21_600, 1_800, 6.0),
    ]


def test_the_hash_names_the_version() -> None:
    one, other = (parse_rules(text, GROUPINGS, source="x").hash for text in (GOOD, GOOD + "#"))
    assert len(one) == len(other) == 16
    assert one != other


def test_no_rules_are_fine() -> None:
    assert parse_rules("", GROUPINGS, source="x").all == ()


def test_every_rule_with_a_mistake_is_told_at_once() -> None:
    text = GOOD + "colour = 1\n" + BUDGET.replace("tokens", "money")
    with pytest.raises(RulesError, match=r"rule 'many': colour.*\n.*rule 'spent': metric"):
        parse_rules(text, GROUPINGS, source="rules.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rule = 5", r"rules\.toml: write rules as \[\[rule\]\] tables"),
        ("rule = [5]", r"rules\.toml: rule 1: write it as a \[\[rule\]\] table"),
        ("[[rule", r"rules\.toml: not TOML"),
        (GOOD + GOOD, r"rules\.toml: rule 'many': name: taken"),
        (GOOD + 'window = "15s"', r"rule 'many': window: Input should be a multiple of 10"),
        (GOOD + "window = 60", r'window: write a duration as text, e.g. "30s"'),
        (GOOD + 'window = "soon"', r"window: 'soon' is no duration: write e.g. 30s"),
        (
            GOOD + 'window_s = "1m"',
            r"window_s: unknown for kind = 'threshold'; did you mean window",
        ),
        (GOOD + "colour = 1", r"rule 'many': colour: unknown .* it has name, by"),
        (GOOD + 'kind = "magic"', r"kind: 'magic' is unknown; use one of threshold, ratio"),
        (GOOD + 'agg = "p95"', r"rule 'many': .*agg: count has none, leave it out"),
        (GOOD + 'by = ["colour"]', r"by: name some of tenant"),
        (GOOD + 'by = ["model"]', r'by: windows are not computed by \["model"\]; use one of \[\]'),
        (GOOD + 'where.model = "x"', r"where: 'model' is not in by: add it there"),
        (
            GOOD + "clear_threshold = 6",
            r"clear_threshold: 6 is beyond the threshold; choose one be",
        ),
        (GOOD + 'annotations.summary = "{{who}}"', r"summary: nothing fills {{who}}; use one of r"),
        ('[[rule]]\nname = "l"\nmetric = "latency_ms"\nthreshold = 1', "needs one of p50"),
        (
            '[[rule]]\nname="l"\nmetric="latency_ms"\nagg="p95"\nthreshold = 1\nwindow = "5m"',
            r"window: percentiles look back 2m at most; for longer use kind",
        ),
        ("[[rule]]\nmetric = 'count'\nthreshold = nan", r"rule 1: name: .*threshold: "),
        (GOOD.replace("count", "beauty"), r"metric: 'beauty' is unknown; use one of latency_ms"),
        (RATIO + 'metric = "slow"', r"over_ms: give it with metric = .slow."),
        (RATIO + 'metric = "errors"\nof = "x"', r"of: 'x' is unknown; use one of count"),
        (
            BURN + 'windows = [{long = "5m", short = "1h", factor = 1}]',
            r"windows\.0: short: choose",
        ),
        (BUDGET + 'time_zone = "Mars/Base"', r"time_zone: 'Mars/Base' is no IANA time zone"),
        (BUDGET + "rolling = true\nforecast = true", r"forecast: a rolling period has no end"),
        (
            BUDGET.replace('"tokens"', '"error_rate"'),
            r"metric: error_rate does not add up; use one",
        ),
        (SILENT + 'forget_after = "1m"', r"forget_after: choose more than window"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(RulesError, match=said):
        parse_rules(text, GROUPINGS, source="rules.toml")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"none\.toml: cannot be read"):
        load_rules(tmp_path / "none.toml", GROUPINGS)


def test_more_limits_on_conversations_than_a_window_can_tell_apart_are_refused() -> None:
    rule = '[[rule]]\nname = "r{n}"\nkind = "conversation"\nmetric = "tokens"\nthreshold = {n}\n'
    most = "".join(rule.format(n=n) for n in range(LIMITS_MAX))
    assert len(parse_rules(most, GROUPINGS, source="f").limits) == LIMITS_MAX
    with pytest.raises(RulesError, match="31 is the most"):
        parse_rules(most + rule.format(n=LIMITS_MAX), GROUPINGS, source="f")
