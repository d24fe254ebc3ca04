"""A fleet of chatbots that answer nobody: real time, real concurrency, made-up work.

Each bot holds one conversation after the other and reports its turns as any bot would, through
``producer.interaction()``. One tenant has an incident: its model gets slow and often fails.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from backchannel import Producer
from backchannel.clock import SYSTEM_CLOCK, Clock
from backchannel_deploy.demo.timeline import TENANTS, TROUBLED_TENANT, Timeline

__all__ = ["Fleet"]

_TENANT_WEIGHTS = (5, 3, 2)
_ENDPOINTS = ("/chat", "/assist")
_ENDPOINT_WEIGHTS = (3, 1)
_USERS_A_TENANT = 400
_REPORTS_KEPT = 20_000
_TURNS = (2, 6)
_THINK_S = 1.1
_SLOWNESS = 9.0
"""How many times longer the model takes during the incident."""
_OUTPUT_TOKENS_MAX = 260
_FAILURE_SHARE = 0.004
_INCIDENT_FAILURE_SHARE = 0.25


class ProviderOverloadedError(Exception):
    """What a model provider's client raises when the provider has had enough."""


@dataclass(frozen=True, slots=True)
class _Model:
    name: str
    provider: str
    first_token_s: float
    token_s: float


_MODELS = (
    _Model("gpt-4o-mini", "openai", 0.16, 0.0022),
    _Model("gpt-4o", "openai", 0.26, 0.0040),
    _Model("claude-sonnet", "anthropic", 0.30, 0.0044),
)
_MODEL_WEIGHTS = (6, 3, 2)


class Fleet:
    """All bots of a demo, and when each of their events was reported."""

    def __init__(
        self,
        producer: Producer,
        timeline: Timeline,
        *,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.producer = producer
        self.timeline = timeline
        self.sleep = sleep
        self._clock = clock
        self._start_us = clock.monotonic_us()
        self._reported: dict[tuple[str, int], int] = {}

    async def run(self, *, seed: int, bots: int) -> None:
        """Runs every bot until the timeline ends; turns under way are finished."""
        self._start_us = self._clock.monotonic_us()
        tenants = random.Random(seed).choices(TENANTS, _TENANT_WEIGHTS, k=bots)
        async with asyncio.TaskGroup() as group:
            for number, tenant in enumerate(tenants):
                bot = _Bot(self, tenant, random.Random(f"{seed}-{number}"))
                group.create_task(bot.run(), name=f"bot-{number}")

    @property
    def elapsed_s(self) -> float:
        return (self._clock.monotonic_us() - self._start_us) / 1_000_000

    def is_over(self) -> bool:
        """Says whether bots shall begin no further turn."""
        return self.elapsed_s >= self.timeline.seconds

    @contextmanager
    def reporting(self, tenant: str) -> Iterator[int]:
        """Yields the event time of a turn that begins now, and notes when it was reported."""
        ts_us = self._clock.now_us()
        try:
            yield ts_us
        finally:
            self._reported[tenant, ts_us] = self._clock.now_us()
            if len(self._reported) > _REPORTS_KEPT:
                del self._reported[next(iter(self._reported))]

    def reported_at_us(self, tenant: str, ts_us: int) -> int | None:
        """Returns when the tenant's event of that time was reported, if it is still known."""
        return self._reported.get((tenant, ts_us))


@dataclass(frozen=True, slots=True)
class _Conversation:
    conversation_id: str
    user_id: str
    endpoint: str


class _Bot:
    def __init__(self, fleet: Fleet, tenant: str, rng: random.Random) -> None:
        self._fleet = fleet
        self._tenant = tenant
        self._rng = rng
        self._model = rng.choices(_MODELS, _MODEL_WEIGHTS)[0]

    async def run(self) -> None:
        await self._fleet.sleep(self._rng.uniform(0, 2 * _THINK_S))  # they do not start in step
        while not self._fleet.is_over():
            conversation = self._conversation()
            for turn in range(1, self._rng.randint(*_TURNS) + 1):
                with suppress(ProviderOverloadedError):
                    await self._answer(conversation, turn)
                await self._wait_for_the_user()
                if self._fleet.is_over():
                    break

    def _conversation(self) -> _Conversation:
        return _Conversation(
            conversation_id=f"c-{self._rng.getrandbits(64):016x}",
            user_id=f"{self._tenant}-u{self._rng.randrange(_USERS_A_TENANT)}",
            endpoint=self._rng.choices(_ENDPOINTS, _ENDPOINT_WEIGHTS)[0],
        )

    async def _wait_for_the_user(self) -> None:
        load = self._fleet.timeline.load(self._fleet.elapsed_s)
        await self._fleet.sleep(_THINK_S / load * self._rng.lognormvariate(0, 0.4))

    async def _answer(self, conversation: _Conversation, turn_number: int) -> None:
        """One turn, reported as a bot's own code would report it."""
        rng, model = self._rng, self._model
        timeline, at_s = self._fleet.timeline, self._fleet.elapsed_s
        incident = self._tenant == TROUBLED_TENANT and timeline.incident(at_s)
        slowness = rng.lognormvariate(0, 0.2) * (_SLOWNESS if incident else 1)
        fails = rng.random() < (_INCIDENT_FAILURE_SHARE if incident else _FAILURE_SHARE)
        output_tokens = min(round(rng.lognormvariate(4.9, 0.5)), _OUTPUT_TOKENS_MAX)

        with self._fleet.reporting(self._tenant) as ts_us:
            async with self._fleet.producer.interaction(
                ts_us=ts_us,
                tenant_id=self._tenant,
                user_id=conversation.user_id,
                conversation_id=conversation.conversation_id,
                turn=turn_number,
                endpoint=conversation.endpoint,
                provider=model.provider,
                model=model.name,
                streamed=True,
            ) as turn:
                with turn.component("rag_retrieval"):
                    await self._fleet.sleep(rng.lognormvariate(-3.2, 0.4))
                with turn.component("llm_generation"):
                    await self._fleet.sleep(model.first_token_s * slowness)
                    if fails:
                        raise ProviderOverloadedError
                    turn.first_token()
                    await self._fleet.sleep(output_tokens * model.token_s * slowness)
                turn.usage(
                    input_tokens=round(rng.lognormvariate(6.6, 0.7)), output_tokens=output_tokens
                )
