"""``python -m backchannel_processors``: a worker with settings from the environment."""

from backchannel_processors.settings import WorkerSettings
from backchannel_processors.worker import run_worker

if __name__ == "__main__":
    run_worker(WorkerSettings())
