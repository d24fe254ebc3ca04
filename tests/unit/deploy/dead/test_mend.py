"""From a dead letter to an event: what is set, what stays refused, and that a repeat is one."""

from dataclasses import replace

import pytest

from backchannel.events import Interaction, SealedBatch, encode_event, open_batch
from backchannel_deploy.dead import mend
from backchannel_deploy.dead.letters import Letter
from backchannel_deploy.dead.mend import changes_of, mended, sort_letters

EVENT = Interaction(conversation_id="c-1", duration_us=1200)
GOOD = encode_event(EVENT).decode()
BAD = GOOD.replace('"duration_us":1200', '"duration_us":"1200"')
LETTER = Letter(
    name="chat.events/3/17/0",
    topic="chat.events",
    partition=3,
    stage="sink",
    reason="duration_us: input should be a valid integer",
    value=BAD,
    whole=True,
    producer="dead:chat.events/3/17/0@1700000000000",
    requeued=False,
)


def record(letter: Letter = LETTER, *changes: str, edited: bytes | None = None) -> SealedBatch:
    batch = mended(letter, changes_of(list(changes)), edited)
    assert isinstance(batch, SealedBatch), batch
    return batch


def test_a_field_that_is_set_makes_the_line_an_event_again() -> None:
    assert record(LETTER, "duration_us=1200").value.decode() == GOOD


def test_null_takes_a_field_away() -> None:
    assert b"duration_us" not in record(LETTER, "duration_us=null").value


def test_text_needs_no_quotes() -> None:
    assert b'"model":"gpt-4o"' in record(LETTER, "duration_us=1", "model=gpt-4o").value


def test_an_edited_line_takes_the_place_of_the_old_one() -> None:
    assert record(edited=GOOD.encode()).value.decode() == GOOD


def test_readers_take_the_record_on_trust_and_know_its_repeat_by_its_number() -> None:
    for batch in (record(LETTER, "duration_us=1"), record(edited=GOOD.encode())):
        opened = open_batch(batch.value, batch.headers)
        assert (opened.trusted, opened.producer_id, opened.pseq) == (True, LETTER.producer, 1)


@pytest.mark.parametrize(
    ("letter", "changes", "sentence"),
    [
        (LETTER, [], "duration_us: input should be a valid integer"),
        (replace(LETTER, whole=False), [], "give the line anew"),
        (replace(LETTER, value="not json"), ["model=x"], "no JSON object"),
        (replace(LETTER, value="[1]"), ["model=x"], "no JSON object"),
    ],
)
def test_what_is_still_no_event_is_told_in_a_sentence(
    letter: Letter, changes: list[str], sentence: str
) -> None:
    told = mended(letter, changes_of(changes))
    assert isinstance(told, str)
    assert sentence in told


def test_an_assignment_needs_a_field_and_an_equals_sign() -> None:
    for wrong in ("model", "=x"):
        with pytest.raises(ValueError, match="not field=value"):
            changes_of([wrong])


def test_every_letter_is_sent_refused_or_stored_before() -> None:
    done = sort_letters(
        [replace(LETTER, value=GOOD), LETTER, replace(LETTER, requeued=True)], changes={}
    )

    assert (len(done.records), done.refused, done.stored, done.more) == (1, 1, 1, False)
    assert done.records[0][0] == LETTER.partition


def test_a_run_is_bounded_and_says_that_there_are_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mend, "LETTERS_MAX", 2)
    # What can't be mended never stands in the way of what can.
    done = sort_letters([LETTER] * 5 + [replace(LETTER, value=GOOD)] * 3, changes={})

    assert (len(done.records), done.refused, done.more) == (2, 5, True)
