"""URL parameters, headers and credentials."""

import base64

import pytest

from backchannel_deploy.endpoint.errors import ClickHouseError
from backchannel_deploy.endpoint.request import Credentials, read_request, role_of

USERS = {Credentials("ana", "s3cret"): "", Credentials("analyst", "r3ad"): "analyst"}
BASIC = "Basic " + base64.b64encode(b"ana:s3cret").decode()


def test_parameters_are_sorted_into_what_they_mean() -> None:
    url = [("query", "SELECT 1"), ("database", "d"), ("param_x", "1"), ("max_threads", "2")]
    request = read_request("POST", url, {})
    assert (request.query, request.database) == ("SELECT 1", "d")
    assert (request.parameters, request.settings) == ({"x": "1"}, {"max_threads": "2"})


def test_headers_win_over_the_url() -> None:
    headers = {"X-ClickHouse-Database": "h", "X-ClickHouse-Format": "CSV"}
    request = read_request("POST", [("database", "u"), ("default_format", "JSON")], headers)
    assert (request.database, request.default_format) == ("h", "CSV")


def test_get_is_read_only() -> None:
    assert read_request("GET", [], {}).read_only
    assert not read_request("POST", [], {}).read_only
    with pytest.raises(ClickHouseError, match="READONLY"):
        read_request("GET", [("readonly", "0")], {})


def test_answers_are_compressed_only_where_the_url_asks() -> None:
    headers = {"Accept-Encoding": "gzip"}
    assert read_request("GET", [], headers).accept_encoding == ""
    asked = read_request("GET", [("enable_http_compression", "1")], headers)
    assert asked.accept_encoding == "gzip"


def test_every_request_has_a_query_id() -> None:
    assert read_request("GET", [("query_id", "mine")], {}).query_id == "mine"
    assert read_request("GET", [], {}).query_id != read_request("GET", [], {}).query_id


def test_a_url_may_ask_for_clickhouses_own_compression_of_either() -> None:
    asked = read_request("POST", [("compress", "1")], {})
    assert (asked.native_answer, asked.native_body) == (True, False)
    told = read_request("POST", [("decompress", "1")], {})
    assert (told.native_answer, told.native_body) == (False, True)


def test_who_has_no_password_may_say_any_as_with_a_server() -> None:
    users = {Credentials(): ""}
    assert role_of(users, {}, {"X-ClickHouse-Key": "null"}) == ""
    with pytest.raises(ClickHouseError, match="AUTHENTICATION_FAILED"):
        role_of(users, {}, {"X-ClickHouse-User": "ana", "X-ClickHouse-Key": ""})


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ({}, {"Authorization": BASIC}),
        ({}, {"X-ClickHouse-User": "ana", "X-ClickHouse-Key": "s3cret"}),
        ({"user": "ana", "password": "s3cret"}, {}),
    ],
)
def test_a_user_may_say_who_it_is_in_three_ways(
    url: dict[str, str], headers: dict[str, str]
) -> None:
    assert role_of(USERS, url, headers) == ""


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ({}, {}),
        ({"user": "ana"}, {}),
        ({"user": "ana", "password": "S3cret"}, {}),
        ({"user": "bob", "password": "s3cret"}, {}),
        ({"user": "ana", "password": "s3cret"}, {"Authorization": BASIC}),
        ({}, {"Authorization": "Bearer s3cret"}),
        ({}, {"Authorization": "Basic %%%"}),
    ],
)
def test_everyone_else_is_refused(url: dict[str, str], headers: dict[str, str]) -> None:
    with pytest.raises(ClickHouseError) as refused:
        role_of(USERS, url, headers)
    assert refused.value.code == 516
    assert "s3cret" not in str(refused.value)


def test_a_password_is_never_shown() -> None:
    assert "s3cret" not in repr(USERS)


def test_a_reader_has_a_role_and_nobody_elses_password() -> None:
    assert role_of(USERS, {"user": "analyst", "password": "r3ad"}, {}) == "analyst"
    with pytest.raises(ClickHouseError, match="AUTHENTICATION_FAILED"):
        role_of(USERS, {"user": "analyst", "password": "s3cret"}, {})
