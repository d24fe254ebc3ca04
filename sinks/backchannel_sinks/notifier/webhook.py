"""Delivers messages by POST, signed as of Standard Webhooks."""

import asyncio
from contextlib import suppress

import aiohttp
from yarl import URL

from backchannel.clock import Clock
from backchannel_sinks.notifier.addresses import GuardedResolver, RefusedAddressError, is_allowed
from backchannel_sinks.notifier.errors import DeliveryError
from backchannel_sinks.notifier.message import Message, alertmanager_body, standard_body
from backchannel_sinks.notifier.plan import Target
from backchannel_sinks.notifier.signature import read_key, signed_headers

__all__ = ["TIMEOUT_S", "Webhook"]

TIMEOUT_S = 10.0
"""For one attempt, from the look-up of the name to the end of the answer."""

_BODY_BYTES_MAX = 1024 * 1024
_BODIES = {"standard": standard_body, "alertmanager": alertmanager_body}


class Webhook:
    """One URL. A 2xx is a delivery; everything else, redirects too, is not. The body of an answer
    is not read, and its head may have 8 KB a line."""

    def __init__(self, target: Target, clock: Clock, *, timeout_s: float = TIMEOUT_S) -> None:
        assert target.webhook is not None, "this target is no webhook"
        self._url = target.webhook.get_secret_value()
        self._keys = [read_key(each.get_secret_value()) for each in target.secrets]
        self._authorization = target.authorization
        self._allowed = target.allow
        self._body = _BODIES[target.body]
        self._clock = clock
        self._timeout_s = timeout_s

    async def send(self, message: Message) -> None:
        """Makes one attempt, within seconds.

        Raises:
            DeliveryError: the receiver did not take it, or it is not known whether it did.
        """
        body = self._body(message)
        if len(body) > _BODY_BYTES_MAX:
            raise DeliveryError("the message is larger than 1 MB")
        at_s = self._clock.now_us() // 1_000_000
        headers = {
            "content-type": "application/json",
            "user-agent": "backchannel-notifier",
            **signed_headers(message.id, at_s, body, self._keys),
        }
        if self._authorization is not None:
            headers["authorization"] = self._authorization.get_secret_value()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._post(body, headers)
        except TimeoutError:
            raise DeliveryError(f"no answer within {self._timeout_s:g} s") from None
        except RefusedAddressError as error:
            raise DeliveryError(str(error)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The error's own words hold the address.
            cause = error.__cause__ or error
            if isinstance(cause, RefusedAddressError):
                raise DeliveryError(str(cause)) from None
            raise DeliveryError(
                f"no connection, or a broken one ({type(error).__name__})"
            ) from None

    async def _post(self, body: bytes, headers: dict[str, str]) -> None:
        # An address that is written as such is never resolved, so it is judged here: as yarl reads
        # it, which connects.
        host = URL(self._url).host or ""
        if _is_address(host) and not is_allowed(host, self._allowed):
            raise RefusedAddressError("its address is not public and not allowed")
        connector = aiohttp.TCPConnector(
            resolver=GuardedResolver(self._allowed), use_dns_cache=False, force_close=True
        )
        async with (
            aiohttp.ClientSession(
                connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            status = answer.status
            if 200 <= status < 300:
                return
            raise DeliveryError(
                f"answered {status}", retry_after_s=_seconds(answer.headers.get("retry-after", ""))
            )


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _seconds(retry_after: str) -> float:
    with suppress(ValueError):
        return max(0.0, float(retry_after))
    return 0.0
