"""The lengths of Celery's and RQ's queues, asked with the real libraries."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from rq import Queue

from backchannel.queues import celery_queue, rq_queue
from support.redis_twin import redis_port


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_port(tmp_path_factory.mktemp("redis")) as port:
        yield port


def celery_app(broker: str, **options: Any) -> Any:
    app = Celery("bot", broker=broker)
    app.conf.broker_transport_options = options
    return app


def test_celery_over_redis_counts_the_jobs_of_all_priorities(port: int) -> None:
    app = celery_app(f"redis://127.0.0.1:{port}/0")
    for priority in (0, 3, 9):
        app.send_task("answer", priority=priority)

    assert celery_queue(app)() == 3
    app.close()


def test_celery_over_files_and_memory_counts_the_same_way(tmp_path: Path) -> None:
    names = ("data_folder_in", "data_folder_out", "control_folder")
    folders = dict.fromkeys(names, str(tmp_path))
    for app in (celery_app("memory://"), celery_app("filesystem://", **folders)):
        app.send_task("answer", queue="slow")
        app.send_task("answer", queue="slow")

        assert celery_queue(app, "slow")() == 2
        app.close()


def test_a_queue_that_nobody_used_yet_is_empty(port: int) -> None:
    app = celery_app("memory://")

    assert celery_queue(app, "never-used")() == 0
    app.close()


def test_rq_counts_the_jobs_that_wait(port: int) -> None:
    connection = Redis(port=port)
    queue = Queue("answers", connection=connection)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of rq, inside rq
        for _ in range(2):
            queue.enqueue("bot.answer")

    assert rq_queue(queue)() == 2
    connection.close()


def test_a_broker_that_is_away_is_not_waited_for_for_ever() -> None:
    app = celery_app("redis://127.0.0.1:1/0")

    with pytest.raises(OperationalError):
        celery_queue(app)()
    app.close()
