"""What a process of the pipeline says of itself over HTTP: whether it lives, whether it is ready,
and its numbers for Prometheus.

For the roles (worker, sink, notifier …); a bot has ``backchannel.integrations.prometheus``. Needs
aiohttp and prometheus-client, which the extras of the roles bring.
"""
