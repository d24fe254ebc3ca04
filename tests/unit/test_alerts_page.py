"""What docs/alerts.md says of metrics and shipped rules is what the code and the file say.

``BACKCHANNEL_WRITE_DOCS=1 pytest tests/unit/test_alerts_page.py`` writes the page anew.
"""

import os
import re
from pathlib import Path

import pytest

from backchannel_deploy.cli.app import run
from backchannel_deploy.cli.runbook import runbooks
from backchannel_processors.durations import duration_text
from backchannel_processors.groupings import Groupings
from backchannel_processors.rule import (
    CONVERSATION_METRICS,
    AnyRule,
    BudgetRule,
    BurnRateRule,
    ConversationRule,
    LagRule,
    NoDataRule,
)
from backchannel_processors.rule_metrics import METRICS, QUANTITIES
from backchannel_processors.rules import load_rules
from backchannel_processors.settings import WorkerSettings
from backchannel_processors.worker import shipped_rules

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "alerts.md"
RULES = load_rules(shipped_rules(), Groupings.parse(WorkerSettings().groupings)).all


def metrics() -> str:
    rows = [
        f"| `{name}` | {each.unit} | {each.meaning} | {', '.join(filter(None, each.aggregates))} |"
        for name, each in METRICS.items()
    ]
    named = ", ".join(f"`{name}`" for name in QUANTITIES)
    of_one = ", ".join(f"`{name}`" for name in CONVERSATION_METRICS)
    return "\n".join(
        [
            "| metric | unit | meaning | `agg` |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Quantities, for `ratio` and `burn_rate`: {named}, and `slow` with `over_ms`.",
            "",
            f"Of one conversation, for `conversation`: {of_one}.",
            "",
        ]
    )


def rules() -> str:
    head = ["| rule | kind | fires when | by | severity |", "|---|---|---|---|---|"]
    rows = [
        f"| [`{rule.name}`](../deploy/backchannel_deploy/runbooks/{rule.name}.md) | "
        f"`{rule.kind}` | {_when(rule)} | {', '.join(rule.by) or 'everything'} | {rule.severity} |"
        for rule in RULES
    ]
    return "\n".join([*head, *rows, ""])


def _when(rule: AnyRule) -> str:
    match rule:
        case BurnRateRule():
            pairs = "; ".join(
                f"{duration_text(pair.long_s)} and {duration_text(pair.short_s)} at "
                f"{pair.factor:g} times"
                for pair in rule.windows
            )
            return f"the budget of {1 - rule.objective:.3g} burns too fast: {pairs}"
        case BudgetRule():
            when = f"`{rule.metric}` of a {rule.period} reach {rule.threshold:,.10g}"
            return f"{when} at this pace" if rule.forecast else when
        case ConversationRule():
            return f"`{rule.metric}` of one conversation > {rule.threshold:,.10g}"
        case LagRule():
            return f"not everything was read for {duration_text(rule.window_s)}"
        case NoDataRule():
            return f"nothing for {duration_text(rule.window_s)}"
    what = f"`{rule.metric}` {rule.agg}".strip()
    held = f", for {duration_text(rule.for_s)}" if rule.for_s else ""
    threshold = f"{rule.threshold:,.10g}"
    return f"{what} {rule.op} {threshold} over {duration_text(rule.window_s)}{held}"


@pytest.mark.parametrize("part", [metrics, rules])
def test_the_page_is_what_the_code_says(part: type) -> None:
    mark = f"<!-- generated: tests/unit/test_alerts_page.py: {part.__name__} -->\n"
    before, _, rest = PAGE.read_text("utf-8").partition(mark)
    found, end, after = rest.partition("<!-- end -->")
    assert end, mark
    if os.environ.get("BACKCHANNEL_WRITE_DOCS"):
        PAGE.write_text(before + mark + part() + end + after, "utf-8")
        return
    assert found == part()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.name))
def test_every_shipped_rule_says_what_it_means_and_what_to_do(rule: AnyRule) -> None:
    page = runbooks()[rule.name]
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert headings == ["What it means", "What to look at", "What to do"]
    assert rule.annotations["runbook"] == f"backchannel alerts runbook {rule.name}"
    assert {"summary", "evidence"} <= rule.annotations.keys()


def test_every_runbook_is_of_a_shipped_rule_or_of_the_notifier() -> None:
    assert runbooks().keys() == {rule.name for rule in RULES} | {"pipeline-down"}


def test_a_runbook_points_at_nothing_that_an_installed_package_has_not() -> None:
    pointing = [name for name, page in runbooks().items() if "](" in page or "docs/" in page]
    assert pointing == []


def test_the_command_that_an_alert_names_prints_its_runbook(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for rule in RULES:
        assert run(rule.annotations["runbook"].split()[1:]) == 0
        assert capsys.readouterr().out.startswith(f"# {rule.name}: ")
    assert run(["alerts", "runbook", "mine"]) == 1
