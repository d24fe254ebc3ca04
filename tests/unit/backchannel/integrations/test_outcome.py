"""How a call ended, told from the exception alone."""

import asyncio
from typing import Any

import pytest

from backchannel.integrations.outcome import Outcome, outcome


class ApiError(Exception):
    """As the libraries make them: a status code, a body."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__("canary sk-secret")
        vars(self).update(attributes)


class APITimeoutError(ApiError):
    pass


class ContentPolicyViolationError(ApiError):
    pass


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ApiError(status_code=429), Outcome("rate_limited", 429, "ApiError")),
        (ApiError(status_code=401), Outcome("error", 401, "ApiError")),
        (ApiError(status_code=504), Outcome("timeout", 504, "ApiError")),
        (ApiError(status_code="429"), Outcome("error", None, "ApiError")),
        (ApiError(status_code=400, code="content_filter"), Outcome("blocked", 400, "ApiError")),
        (APITimeoutError(), Outcome("timeout", None, "APITimeoutError")),
        (ContentPolicyViolationError(), Outcome("blocked", None, "ContentPolicyViolationError")),
        (TimeoutError("canary"), Outcome("timeout", None, "TimeoutError")),
        (ConnectionResetError(), Outcome("error", None, "ConnectionResetError")),
        (asyncio.CancelledError(), Outcome("cancelled")),
        (GeneratorExit(), Outcome("cancelled")),
    ],
    ids=repr,
)
def test_an_exception_tells_status_code_and_class_but_never_its_message(
    error: BaseException, expected: Outcome
) -> None:
    assert outcome(error) == expected
    assert "canary" not in repr(outcome(error))


def test_an_exception_whose_attributes_raise_is_an_error_all_the_same() -> None:
    class HostileError(Exception):
        @property
        def status_code(self) -> int:
            raise ZeroDivisionError

    assert outcome(HostileError()) == Outcome("error", None, "HostileError")
