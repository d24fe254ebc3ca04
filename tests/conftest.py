"""Fixtures that every test may ask for; the code behind them is in tests/support."""

from support.broker import kafka, private_kafka
from support.endpoint import clickhouse, private_clickhouse, shared_endpoint

__all__ = ["clickhouse", "kafka", "private_clickhouse", "private_kafka", "shared_endpoint"]
