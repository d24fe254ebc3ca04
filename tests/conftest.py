"""Fixtures that every test may ask for; the code behind them is in tests/support."""

import os

from hypothesis import settings

from backchannel.prices import PriceBook
from support.broker import kafka, private_kafka
from support.endpoint import clickhouse, private_clickhouse, shared_endpoint
from support.model_server import model_server
from support.notifier_process import notifier_factory
from support.receiver import receiver
from support.rows_of_events import analyst, analyst_database
from support.stack import stack
from support.worker_process import worker_factory

__all__ = [
    "analyst",
    "analyst_database",
    "clickhouse",
    "kafka",
    "model_server",
    "notifier_factory",
    "private_clickhouse",
    "private_kafka",
    "receiver",
    "shared_endpoint",
    "stack",
    "worker_factory",
]

# Tests count events to the last one, so the producer's own come only where a test asks for them.
os.environ["BACKCHANNEL_HEALTH_INTERVAL_S"] = "0"

# Hypothesis draws constants out of the modules that are loaded. A producer loads its price table in
# the background: in the middle of a test that would be another pool, and another example.
PriceBook().load()

# The same examples each time in CI; new ones each time where somebody looks for faults.
settings.register_profile("seeded", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("full", max_examples=2_000, deadline=None, print_blob=True)
settings.load_profile("full" if os.environ.get("BACKCHANNEL_FAULTS") == "full" else "seeded")
