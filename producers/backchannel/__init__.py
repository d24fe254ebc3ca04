"""backchannel: every interaction of a chatbot into Kafka, without ever blocking or breaking it.

``Producer`` is what a bot embeds; ``backchannel.events`` is the contract that everything shares.
"""

from backchannel.calls import Call, ComponentTimer, Search, ToolUse
from backchannel.conversation import Conversation
from backchannel.errors import BackchannelError, SettingsError
from backchannel.producer import BoundProducer, Producer
from backchannel.request import Request
from backchannel.scope import Context
from backchannel.security import KafkaSecurity
from backchannel.sending.jsonl import JsonlTransport
from backchannel.sending.memory import MemoryTransport
from backchannel.sending.stats import DropReason, ProducerStats
from backchannel.sending.transport import Transport
from backchannel.settings import ProducerSettings
from backchannel.shared import get_producer, init
from backchannel.streams import AsyncStream, Stream
from backchannel.turn import Turn, current_turn

__all__ = [
    "AsyncStream",
    "BackchannelError",
    "BoundProducer",
    "Call",
    "ComponentTimer",
    "Context",
    "Conversation",
    "DropReason",
    "JsonlTransport",
    "KafkaSecurity",
    "MemoryTransport",
    "Producer",
    "ProducerSettings",
    "ProducerStats",
    "Request",
    "Search",
    "SettingsError",
    "Stream",
    "ToolUse",
    "Transport",
    "Turn",
    "current_turn",
    "get_producer",
    "init",
]
