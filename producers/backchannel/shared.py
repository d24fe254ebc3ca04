"""The producer that a whole process shares: made once, found from anywhere."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from backchannel.clock import SYSTEM_CLOCK, Clock
from backchannel.errors import SettingsError
from backchannel.forks import whole_import
from backchannel.producer import Producer
from backchannel.sending.transport import Transport
from backchannel.settings import SettingsArguments

if TYPE_CHECKING:
    from backchannel.sending.drop_watch import OnDrop

__all__ = ["get_producer", "init"]

_log = logging.getLogger("backchannel")

_shared: Producer | None = None


def init(
    kafka: str | None = None,
    *,
    transport: Transport | None = None,
    content_transport: Transport | None = None,
    clock: Clock = SYSTEM_CLOCK,
    on_drop: "OnDrop | None" = None,
    prices: Mapping[str, Mapping[str, Any]] | None = None,
    **settings: Unpack[SettingsArguments],
) -> Producer:
    """Makes the process's producer from what a ``Producer`` takes, and returns it.

    Called again it returns the same one; if the settings differ, it says so with a warning and
    keeps the first. After that one was closed it makes a new one.

    Raises:
        SettingsError: settings of the first call cannot be used.
    """
    global _shared
    with whole_import():  # making one imports; and of two threads that ask at once, one makes it
        first = _shared
        if first is None or first.closed:
            _shared = Producer(
                kafka,
                transport=transport,
                content_transport=content_transport,
                clock=clock,
                on_drop=on_drop,
                prices=prices,
                **settings,
            )
            return _shared
    given: dict[str, Any] = {**settings, **({} if kafka is None else {"kafka": kafka})}
    differ = [name for name, value in given.items() if _setting(first, name) != value]
    if differ:
        _log.warning(
            "backchannel.init() was called again with another %s: the first call's settings stay",
            ", ".join(sorted(differ)),
        )
    return first


def get_producer() -> Producer:
    """Returns the process's producer; without ``init`` it is made from the environment.

    Raises nothing: where the environment says no address either, it is a disabled one, and a
    warning says so. A later ``init`` replaces that one.
    """
    global _shared
    if _shared is None or (_shared.closed and not _shared.settings.disabled):
        with whole_import():
            try:
                return init()
            except SettingsError as error:
                _log.warning("backchannel.get_producer(): nothing is sent: %s", error)
                _shared = Producer(disabled=True)
                _shared.close_sync()  # so that init() may take its place
    return _shared


def _setting(producer: Producer, name: str) -> Any:
    settings = producer.settings
    return getattr(settings if hasattr(settings, name) else settings.security, name)
