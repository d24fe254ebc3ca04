"""What is taken out of free text, and what stays."""

import time

import pytest

from backchannel.shaping.masking import mask_text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mail jane.doe+x@mail.example.co.uk now", "mail [email] now"),
        ("/find?email=jane%40example.org&x=1", "/find?email=[email]&x=1"),
        ("call +49 170 1234567!", "call [phone]!"),
        ("call (555) 123-4567", "call [phone]"),
        ("call 555.123.4567, or 07700900123", "call [phone], or [phone]"),
        ("call 0041 44 668 18 00", "call [phone]"),
        ("card 4111 1111 1111 1111 declined", "card [card] declined"),
        ("card 5500-0000-0000-0004", "card [card]"),
        ("card 378282246310005.", "card [card]."),
        ("to DE89 3704 0044 0532 0130 00 please", "to [iban] please"),
        ("to GB82WEST12345698765432", "to [iban]"),
        ("invalid key sk-proj-abcdefgh12345678ABCD", "invalid key [key]"),
        ("sk-ant-api03-abcdefgh12345678ABCD-xyz_", "[key]"),
        ("AKIAIOSFODNN7EXAMPLE", "[key]"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[key]"),
        ("xoxb-123456789012-abcdefGHIJ", "[key]"),
        ("Authorization: Bearer abc.def-123456", "Authorization: Bearer [key]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "[key]"),
        ("redis://default:s3cr3t@cache:6379/0", "redis://[key]@cache:6379/0"),
        ("password=hunter22 user=x", "password=[key] user=x"),
        ('{"api_key": "abcdef123456"}', '{"api_key": "[key]"}'),
        ("?access_token=abc123def456&a=b", "?access_token=[key]&a=b"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "[key]"),
    ],
)
def test_what_looks_like_a_person_or_a_key_is_masked(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the answer took 12345678 us",
        "on 2026-11-21 12:42:31 and 21.11.2026",
        "from 192.168.100.200:8080",
        "event 01a1fe24-c686-73b6-9bc9-1533d37b547f",
        "event 12345678-1234-4234-8234-123456789012",
        "at 1795265185414674 us",
        "card 4111 1111 1111 1112",
        "score 0.12345678901234",
        "ratio 3.14159265358979",
        "the bearer of bad news",
        "unexpected token: identifier",
        "AB12 is no account, nor is DE00 3704 0044 0532 0130 00",
        "@decorator",
        "task-force and sk-8",
        "version 1.22.333.4444",
    ],
)
def test_what_only_resembles_them_stays(text: str) -> None:
    assert mask_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        (unit * 65_536)[:65_536]
        for unit in (
            *("a", "1", "a@", "1 ", "DE12", "sk-", "key=", "://:", "eyJ.", "password "),
            *("-----BEGIN PRIVATE KEY-----", "bearer ", "token: "),
        )
    ],
    ids=lambda text: text[:6],
)
def test_no_text_takes_long(text: str) -> None:
    started = time.thread_time()

    mask_text(text)

    assert time.thread_time() - started < 1  # a hang would take minutes
