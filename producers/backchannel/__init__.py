"""backchannel: every interaction of a chatbot into Kafka, without ever blocking or breaking it.

``Producer`` is what a bot embeds; ``backchannel.events`` is the contract that everything shares.
"""

from backchannel.errors import BackchannelError, SettingsError
from backchannel.jsonl import JsonlTransport
from backchannel.memory import MemoryTransport
from backchannel.producer import BoundProducer, Producer
from backchannel.request import Request
from backchannel.security import KafkaSecurity
from backchannel.settings import ProducerSettings
from backchannel.shared import get_producer, init
from backchannel.stats import DropReason, ProducerStats
from backchannel.transport import Transport
from backchannel.turn import Turn

__all__ = [
    "BackchannelError",
    "BoundProducer",
    "DropReason",
    "JsonlTransport",
    "KafkaSecurity",
    "MemoryTransport",
    "Producer",
    "ProducerSettings",
    "ProducerStats",
    "Request",
    "SettingsError",
    "Transport",
    "Turn",
    "get_producer",
    "init",
]
