"""Prompts and replies: off by default, on their own topic, masked, bounded and counted."""

from typing import Any

import pytest

from backchannel import MemoryTransport, Producer, SettingsError
from backchannel.events import LINE_BYTES_MAX, Content
from backchannel.shaping.pseudonyms import Pseudonyms

KEY = "a key of a bot that nobody knows"


class Bench:
    """A producer that captures content, and what arrived on both topics."""

    def __init__(self, **settings: Any) -> None:
        self.transport = MemoryTransport()
        self.content = MemoryTransport()
        self.producer = Producer(
            transport=self.transport,
            content_transport=self.content,
            **{"health_interval_s": 0, "capture_content": True, **settings},
        )

    def texts(self) -> list[Content]:
        assert self.producer.close_sync() == 0
        lines = [
            line
            for records in self.content.records
            for record in records
            for line in record.value.split(b"\n")
        ]
        return [Content.model_validate_json(line) for line in lines]


def test_content_is_tied_to_its_event_and_not_in_it() -> None:
    bench = Bench()
    with bench.producer.interaction(conversation_id="c", tenant_id="t", user_id="u") as turn:
        turn.prompt("What is the answer?")
        turn.reply("42")
        turn.reply("or 43")

    texts = bench.texts()
    (event,) = bench.transport.events()
    assert [(text.part, text.part_index, text.text) for text in texts] == [
        ("prompt", 0, "What is the answer?"),
        ("reply", 0, "42"),
        ("reply", 1, "or 43"),
    ]
    assert {(text.event_id, text.ts_us) for text in texts} == {(event.event_id, event.ts_us)}
    assert {(t.conversation_id, t.tenant_id, t.user_id) for t in texts} == {("c", "t", "u")}
    assert b"answer" not in b"".join(
        r.value for records in bench.transport.records for r in records
    )


def test_without_the_switch_nothing_is_kept_or_sent() -> None:
    bench = Bench(capture_content=False)
    with bench.producer.interaction() as turn:
        turn.prompt("secret")

    assert bench.texts() == []
    assert bench.content.connections == 0
    assert bench.producer.stats().content.offered == 0


def test_what_is_bound_counts_for_content_too() -> None:
    bench = Bench(user_id_key=KEY)
    with bench.producer.bind(user_id="jane").interaction() as turn:
        turn.prompt("mail jane@example.org")

    (text,) = bench.texts()
    assert (text.text, text.user_id) == ("mail [email]", Pseudonyms(KEY).of("jane"))


def test_a_hook_that_fails_loses_the_text_alone() -> None:
    def failing(text: str) -> str:
        raise RuntimeError(text)

    bench = Bench(mask=failing)
    with bench.producer.interaction() as turn:
        turn.prompt("secret")

    (text,) = bench.texts()
    assert text.text == ""
    assert bench.producer.stats().masking_failures == 1
    assert len(bench.transport.events()) == 1


def test_a_long_text_is_cut_and_says_so() -> None:
    bench = Bench(content_chars_max=10)
    with bench.producer.interaction() as turn:
        turn.prompt("x" * 11)
        turn.reply("x" * 10)

    assert [(text.text, text.truncated) for text in bench.texts()] == [
        ("x" * 10, True),
        ("x" * 10, False),
    ]


def test_a_text_that_grows_on_the_wire_still_fits_a_line() -> None:
    bench = Bench(content_chars_max=65_536)
    with bench.producer.interaction() as turn:
        turn.prompt("\x00" * 65_536)

    (text,) = bench.texts()
    assert text.truncated
    assert len(text.model_dump_json()) < LINE_BYTES_MAX


def test_texts_beyond_the_bound_of_an_event_are_counted() -> None:
    bench = Bench()
    with bench.producer.interaction() as turn:
        for _ in range(70):
            turn.reply("x")

    assert len(bench.texts()) == 64
    assert bench.producer.stats().fields_repaired == 6


@pytest.mark.parametrize("text", [None, 3, b"bytes", object], ids=repr)
def test_what_is_no_text_is_counted_and_never_raises(text: Any) -> None:
    bench = Bench()
    with bench.producer.interaction() as turn:
        turn.prompt(text)

    assert bench.texts() == []
    assert bench.producer.stats().content.dropped == {"invalid": 1}
    assert len(bench.transport.events()) == 1


def test_a_full_buffer_of_content_loses_content_alone() -> None:
    bench = Bench(content_buffer_bytes_max=64 * 1024, content_chars_max=65_536)
    bench.content.away = True
    for _ in range(4):
        with bench.producer.interaction() as turn:
            turn.prompt("x" * 30_000)
    stats = bench.producer.stats()

    assert stats.content.dropped == {"buffer_full": 2}
    assert stats.accepted == 4
    bench.content.away = False
    assert len(bench.texts()) == 2
    assert len(bench.transport.events()) == 4


def test_content_of_an_event_that_is_sampled_out_goes_with_it() -> None:
    bench = Bench(sample_one_in=3)
    for number in range(30):
        with bench.producer.interaction(conversation_id=f"c{number}") as turn:
            turn.prompt("x")

    of_texts = {text.event_id for text in bench.texts()}
    assert of_texts == {event.event_id for event in bench.transport.events()}
    assert 0 < len(of_texts) < 30


def test_content_needs_a_way_of_its_own() -> None:
    with pytest.raises(SettingsError, match="content_transport"):
        Producer(transport=MemoryTransport(), capture_content=True)
