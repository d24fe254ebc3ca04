"""ClickHouse as the commands see it: a client for the right place, and errors as sentences."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backchannel_deploy.connect import CLICKHOUSE, find_clickhouse, find_database, without_secrets
from backchannel_deploy.errors import UserError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

__all__ = ["connected", "error_sentence"]

_CODE = re.compile(r"Code: (\d+)\. DB::Exception: ")
# What follows helps nobody: the version, and of a syntax error every word that could have stood.
_REST = re.compile(r"\.?\s*(\(version |Expected one of: ).*", re.DOTALL)
_UNKNOWN_DATABASE = "81"
_TOLD_CHARS_MAX = 600


@contextmanager
def connected(url: str | None = None) -> Iterator["Client"]:
    """Yields a client whose default database is ours (it need not exist yet), closed at the end.

    Without ``url`` it is the ClickHouse of the settings, else of the `up` that runs here.

    Raises:
        UserError: there is no ClickHouse to talk to, or it refused what was asked in the block.
    """
    from clickhouse_connect.driver.exceptions import ClickHouseError
    from urllib3.exceptions import HTTPError

    from backchannel_sinks.clickhouse.connection import connect

    # What it has to say of a server that is away is said here, in a sentence.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    url = url or find_clickhouse()
    try:
        client = connect(url, find_database())
    except ValueError as error:
        raise UserError(f"{CLICKHOUSE}: {error}.") from error
    except ClickHouseError as error:
        refused = _CODE.search(str(error))
        why = error_sentence(str(error)) if refused else "is it running, and is the address right?"
        raise UserError(f"ClickHouse at {without_secrets(url)} gives no answer: {why}") from error
    try:
        yield client
    except ClickHouseError as error:
        raise UserError(f"ClickHouse: {error_sentence(str(error))}") from error
    except HTTPError as error:  # in the middle of an answer that is read piece by piece
        raise UserError(
            "ClickHouse broke its answer off: it was stopped, or nobody read on for half a minute."
        ) from error
    finally:
        client.close()


def error_sentence(message: str) -> str:
    """Returns what a person needs of an error: no version, no stack, no client's own prefix."""
    code = _CODE.search(message)
    if code is None:
        return _shortened(" ".join(message.split()))
    told = " ".join(_REST.sub("", message[code.end() :]).split())
    hint = " Create it: backchannel migrate" if code[1] == _UNKNOWN_DATABASE else ""
    return f"{_shortened(told)} [code {code[1]}]{hint}"


def _shortened(text: str) -> str:
    return text if len(text) <= _TOLD_CHARS_MAX else f"{text[:_TOLD_CHARS_MAX]} …"
