"""A real Kafka broker on this machine: fetched, configured, and waited for."""

from backchannel_deploy.broker.broker import (
    JVM_ENVIRONMENT,
    BrokerConfig,
    prepare,
    run_command,
    server_properties,
)
from backchannel_deploy.broker.errors import (
    BrokerError,
    BrokerNotReadyError,
    FetchCancelledError,
    FormatError,
    JarsUnavailableError,
    JavaNotFoundError,
)
from backchannel_deploy.broker.jars import FetchProgress, default_cache_dir, fetch_jars
from backchannel_deploy.broker.java import find_java
from backchannel_deploy.broker.ready import wait_until_ready

__all__ = [
    "JVM_ENVIRONMENT",
    "BrokerConfig",
    "BrokerError",
    "BrokerNotReadyError",
    "FetchCancelledError",
    "FetchProgress",
    "FormatError",
    "JarsUnavailableError",
    "JavaNotFoundError",
    "default_cache_dir",
    "fetch_jars",
    "find_java",
    "prepare",
    "run_command",
    "server_properties",
    "wait_until_ready",
]
