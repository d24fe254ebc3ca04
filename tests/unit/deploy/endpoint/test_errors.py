"""ClickHouse's errors, as a client reads them."""

import pytest

from backchannel_deploy.endpoint.errors import (
    ClickHouseError,
    engine_error,
    error_body,
    http_status,
)


def test_the_engines_text_becomes_the_servers() -> None:
    error = engine_error("Streaming query failed: Code: 60. DB::Exception: no t. (UNKNOWN_TABLE)")
    assert (error.code, error.name) == (60, "UNKNOWN_TABLE")
    assert error_body(error, "26.9.2.1") == (
        b"Code: 60. DB::Exception: no t. (UNKNOWN_TABLE) (version 26.9.2.1 (official build))\n"
    )


def test_the_spool_file_is_no_clients_business() -> None:
    error = engine_error(
        "Code: 27. DB::Exception: Cannot parse: (at row 1)\n: (in file/uri /home/ana/spool/x): x"
        " (CANNOT_PARSE_INPUT_ASSERTION_FAILED)"
    )
    assert "/home" not in str(error)
    assert error.name == "CANNOT_PARSE_INPUT_ASSERTION_FAILED"


def test_what_was_thrown_twice_is_told_once() -> None:
    error = engine_error(
        "Code: 27. DB::Exception: Code: 27. DB::Exception: no. (X_Y) (version 26.9.2.1). (X_Y)"
    )
    assert str(error) == "Code: 27. DB::Exception: no. (X_Y)"


def test_other_text_is_an_unknown_exception() -> None:
    assert engine_error("boom").code == 1002


@pytest.mark.parametrize(
    ("code", "status"),
    [(60, 404), (62, 400), (115, 404), (164, 500), (202, 503), (241, 500), (497, 403), (516, 403)],
)
def test_statuses_are_the_servers(code: int, status: int) -> None:
    assert http_status(code) == status


def test_an_error_can_be_raised_through_context_managers() -> None:
    error = ClickHouseError.named("READONLY", "x")
    error.__traceback__ = None
    assert str(error) == "Code: 164. DB::Exception: x. (READONLY)"
