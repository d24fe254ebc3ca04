"""Probes for work queues: how many jobs wait. For ``producer.health.queue(name, probe)``.

Each takes what the bot has already (a Celery app, an RQ queue), so nothing is imported here and
no address is told twice.
"""

from collections.abc import Callable
from typing import Any

__all__ = ["celery_queue", "rq_queue"]


def celery_queue(app: Any, name: str = "celery") -> Callable[[], int]:
    """Returns a probe of a Celery queue: ``celery_queue(app)``, or with the queue's name.

    It asks the broker by declaring the queue passively, which is how both AMQP and Celery's other
    transports (Redis with its priority steps, SQS, files) tell their length; a queue that does not
    exist has none. Each call opens a connection and closes it; if the broker is away it raises
    after one more try, and ``Health`` leaves the queue out.
    """

    def length() -> int:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1)  # Kombu's own default is for ever
            try:
                declared = connection.default_channel.queue_declare(queue=name, passive=True)
            except connection.channel_errors:
                return 0  # nobody has sent anything to it yet
            return int(declared.message_count)

    return length


def rq_queue(queue: Any) -> Callable[[], int]:
    """Returns a probe of an RQ queue (``rq.Queue``): the jobs that wait in it."""

    def length() -> int:
        return int(queue.count)

    return length
