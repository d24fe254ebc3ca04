"""Ports that stay the same from one run to the next, as far as others let them."""

import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"
ANY = 0  # the system chooses


def choose_ports(
    preferred: Mapping[str, int], remembered: Mapping[str, int], host: str = LOOPBACK
) -> dict[str, int]:
    """Choose a port for every name in ``preferred``: the remembered one, else the preferred one,
    else, when that is taken or 0, one that the system offers. No two names get the same port.
    """
    chosen: dict[str, int] = {}
    with ExitStack() as held:  # all are held until all are chosen, so that they differ
        for name, wish in preferred.items():
            wishes = [port for port in (remembered.get(name), wish) if port]
            chosen[name] = _hold_first(held, host, [*wishes, ANY])
    return chosen


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on ``port`` now."""
    with ExitStack() as held:
        return _hold(held, host, port) is not None


def _hold_first(held: ExitStack, host: str, candidates: Iterable[int]) -> int:
    for port in candidates:
        got = _hold(held, host, port)
        if got is not None:
            return got
    raise OSError(f"no free port on {host}")


def _hold(held: ExitStack, host: str, port: int) -> int | None:
    listener = socket.socket()
    # As servers do: a port with connections that are just closing is free. One with a listener,
    # also one of another user, is not.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1)
    except OSError:
        listener.close()
        return None
    held.enter_context(listener)
    bound: int = listener.getsockname()[1]
    return bound
