"""What stands on chat.control of somebody who is to be forgotten."""

from backchannel.events import BudgetState, Tombstone, control_key
from backchannel_deploy.control import budgets_of

ASKED = Tombstone(erasure_id="e", subject="user", keys=("u-1", "h-1"), requested_at_us=100)


def told(at_us: int = 100, **dims: str) -> tuple[bytes, bytes]:
    """A record of a budget."""
    budget = BudgetState(
        alert_id="-".join(map(":".join, dims.items())),
        rule="tokens",
        dims=dims,
        metric="tokens",
        spent=1.0,
        limit=2.0,
        evaluated_at_us=at_us,
    )
    return control_key(budget), budget.model_dump_json().encode()


def test_the_budgets_of_a_user_are_found_under_every_name() -> None:
    records = [told(user="u-1"), told(user="h-1", tenant="a"), told(user="u-2"), told(tenant="u-1")]
    assert budgets_of(ASKED, records) == [records[0][0], records[1][0]]


def test_what_was_told_after_the_request_or_is_taken_back_stays_as_it_is() -> None:
    key, value = told(user="u-1")
    assert budgets_of(ASKED, [(key, value), told(at_us=101, user="u-1")]) == []
    assert budgets_of(ASKED, [(key, value), (key, None)]) == []
