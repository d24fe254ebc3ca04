"""`backchannel whatif`: what the same traffic would have cost otherwise."""

from typing import Annotated, Literal

from cyclopts import Parameter

from backchannel_deploy.cli.clickhouse import connected
from backchannel_deploy.cli.output import Format, ask_and_print
from backchannel_deploy.errors import UserError

__all__ = ["whatif"]

_QUESTION = """
SELECT
    countIf(comparable) AS compared,
    countIf(NOT comparable) AS not_comparable,
    bc_usd(sum(now_picousd)) AS now_usd,
    bc_usd(sum(then_picousd)) AS then_usd,
    now_usd - then_usd AS saved_usd,
    round(100 * toFloat64(saved_usd) / nullIf(toFloat64(now_usd), 0), 1) AS saved_percent
FROM v_whatif(
    to_provider = {to_provider:String}, to_model = {to_model:String},
    fewer_input_tokens = {fewer:UInt32}, cache_hit_permille = {permille:UInt16})
WHERE origin = {origin:String} AND event_type = {event_type:String}
    AND ts >= now() - toIntervalDay({days:UInt32})
    AND ({from:String} = '' OR lower(model) = lower({from:String}))
    AND (
"""

_EVENT_TYPES = {"turns": "interaction", "calls": "llm_call"}


def whatif(
    *,
    from_model: Annotated[str, Parameter(name="--from")] = "",
    to_model: Annotated[str, Parameter(name="--to")] = "",
    where: str = "1",
    fewer_tokens: int = 0,
    cache_hits: float = 0.0,
    days: int = 30,
    of: Literal["turns", "calls"] = "turns",
    origin: str = "live",
    format: Annotated[Format, Parameter(alias="-f")] = "table",  # noqa: A002 -- the option's name
) -> None:
    """Tell what the same traffic would cost on another model, shortened, or partly cached.

    Both sides are computed from the table of prices; what has no price on either side is left out
    and counted as not comparable.

    Parameters
    ----------
    from_model
        Only what this model answered; all models without it.
    to_model
        The model instead, or provider/model; without it each keeps its own.
    where
        SQL condition on what is compared, e.g. "intent='faq'": columns of v_whatif.
    fewer_tokens
        Tokens in to take away from each.
    cache_hits
        Share, 0 to 1, that a cache would have answered for nothing.
    days
        How many days back.
    of
        Whether turns or calls to models are compared; a turn holds the tokens of its calls.
    origin
        Of which traffic: live, or replay:ID as `backchannel replay` names it.
    format
        How to print it: see `backchannel sql`.
    """
    if not to_model and not fewer_tokens and not cache_hits:
        raise UserError("Nothing would change: give --to, --fewer-tokens or --cache-hits.")
    if not 0 <= cache_hits <= 1:
        raise UserError("--cache-hits is a share between 0 and 1.")
    if fewer_tokens < 0 or days < 1:
        raise UserError("--fewer-tokens must not be negative, --days at least 1.")
    provider, slash, model = to_model.partition("/")
    parameters = {
        "from": from_model,
        "to_provider": provider if slash else "",
        "to_model": model if slash else to_model,
        "fewer": fewer_tokens,
        "permille": round(cache_hits * 1_000),
        "event_type": _EVENT_TYPES[of],
        "days": days,
        "origin": origin,
    }
    with connected() as client:
        ask_and_print(client, _statement(where), format, parameters)


def _statement(where: str) -> str:
    # SQL of whoever asks, with their rights. It stands on a line of its own: it may end in a
    # comment.
    return _QUESTION + where + "\n)"
