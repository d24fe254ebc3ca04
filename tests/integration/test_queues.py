"""The length of Celery's queues over AMQP, asked of a real RabbitMQ where one is installed.

Redis, files and memory need nothing installed: ``tests/unit/backchannel/test_queues.py``.
"""

from pathlib import Path

import pytest
from celery import Celery

from backchannel.queues import celery_queue
from support.rabbit import RABBITMQ, rabbitmq_address

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.mark.skipif(RABBITMQ is None, reason="RabbitMQ is not installed")
def test_celery_over_amqp_counts_the_jobs_that_wait(tmp_path: Path) -> None:
    with rabbitmq_address(tmp_path) as address:
        app = Celery("bot", broker=address)
        length = celery_queue(app)
        assert length() == 0  # nobody has sent anything yet: RabbitMQ knows no such queue
        app.send_task("answer")
        app.send_task("answer")

        assert length() == 2
        app.close()
