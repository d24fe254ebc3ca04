"""How the sink and the migrations reach ClickHouse: over HTTP, by a URL."""

from urllib.parse import unquote, urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client

__all__ = ["connect"]

_PORTS = {"http": 8123, "https": 8443}


def connect(
    url: str,
    database: str,
    *,
    connect_timeout_s: int = 5,
    answer_timeout_s: int = 60,
) -> Client:
    """Returns a client whose statements run in ``database``, which need not exist yet.

    ``url`` is that of ClickHouse's HTTP interface, ``http://user:password@host:8123``; a path or
    query in it is ignored. Blocks for at most ``connect_timeout_s``, each later call for at most
    ``answer_timeout_s``. The client holds no session, so a lost connection leaves nothing behind;
    it is not for two threads at once.

    Raises:
        ValueError: ``url`` is no such URL; the message does not repeat it.
        clickhouse_connect.driver.exceptions.ClickHouseError: nobody answers, or not to this user.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("the ClickHouse URL must be http://host:port or https://host:port")
    client = clickhouse_connect.get_client(
        host=parts.hostname,
        port=parts.port or _PORTS[parts.scheme],
        secure=parts.scheme == "https",
        username=unquote(parts.username or "default"),
        password=unquote(parts.password or ""),
        connect_timeout=connect_timeout_s,
        send_receive_timeout=answer_timeout_s,
        autogenerate_session_id=False,
    )
    # Only now: the client's first questions fail in a database that is not there yet.
    client.database = database
    return client
