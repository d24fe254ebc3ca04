"""The HTTP server of a role: ``/livez``, ``/readyz``, ``/metrics``."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import chain

from aiohttp import web
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from backchannel.probes import protobuf

__all__ = ["Collect", "Fault", "ProbeServer"]

Fault = Callable[[], str]
"""Says what is wrong, in a few words; nothing when all is well. Called for each question, in the
event loop: it must not wait for anything."""

Collect = Callable[[], Iterable[Metric]]
"""Returns what there is to measure now. Called in the event loop, too."""

_STOP_S = 1.0


class ProbeServer:
    """Answers while the event loop of the process runs: that it answers at all is half the answer.

    ``GET /livez`` and ``GET /readyz`` answer 200 ``ok``, or 503 and why. ``GET /metrics``
    answers in the format that is asked for, with the numbers of the process itself; native
    histograms are in Prometheus' protobuf format alone. Nothing that is answered
    holds a secret, but labels name tenants and models: who can reach the address can read them.
    """

    def __init__(
        self, host: str, port: int | None, *, dead: Fault, unready: Fault, collect: Collect
    ) -> None:
        """
        Args:
            port: where to listen; 0 has the system choose, ``None`` is for no server at all.
            dead: why the process has to be started again.
            unready: what it waits for before it does its part.
        """
        self._host = host
        self._wanted = port
        self._collectors = (collect, ProcessCollector(registry=None).collect)
        app = web.Application()
        app.router.add_get("/livez", _saying(dead))
        app.router.add_get("/readyz", _saying(lambda: dead() or unready()))
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_S)
        self.port: int | None = None
        """Where it listens, once it is started."""

    async def start(self) -> None:
        """Listens from now on.

        Raises:
            OSError: the address can't be listened on; the message names it.
        """
        if self._wanted is None:
            return
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._wanted).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Listens no longer. Harmless when it never did."""
        await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "")
        metrics = chain.from_iterable(collect() for collect in self._collectors)
        if protobuf.is_accepted(accept):
            body, content_type = protobuf.encode(metrics), protobuf.CONTENT_TYPE
        else:
            encode, content_type = choose_encoder(accept)
            body = encode(_Text(metrics))
        return web.Response(body=body, headers={"Content-Type": content_type})


class _Text(Collector):
    """The metrics without native histograms, which the text formats can't say."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        for metric in self._metrics:
            metric.samples = [each for each in metric.samples if each.native_histogram is None]
            yield metric


def _saying(fault: Fault) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def say(_: web.Request) -> web.Response:
        said = fault()
        return web.Response(text=f"{said or 'ok'}\n", status=503 if said else 200)

    return say
