"""A plain Celery task that buys, and a worker that delivers it again: the control of ``benchmarks.durable``.

    FOLDER=/tmp/queue python -m benchmarks.celery_tasks submit|work|again NUMBER

A task writes that it began and that it is done, so that ``again`` delivers those that a worker, whose process id is the
number, had not finished when it was killed. The broker of files would not do so.
"""

import os
import sys
from pathlib import Path

from celery import Celery

from roamify_async import OrderItem, Roamify

FOLDER = Path(os.environ["FOLDER"])
app = Celery("shop", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": FOLDER, "data_folder_out": FOLDER, "control_folder": FOLDER},
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
)


@app.task(name="buy")
def buy(number: int) -> None:
    """Buy, as a plain task does."""
    (FOLDER / f"{number}.begun-by-{os.getpid()}").touch()
    with Roamify() as roamify:
        roamify.orders.create([OrderItem("esim-greece-30days-1gb-all")])
    (FOLDER / f"{number}.done").touch()


def main(command: str, number: int = 0) -> None:
    """Submit tasks, work, or deliver again what a worker had not finished."""
    if command == "work":
        app.worker_main(
            ["worker", "--pool=threads", "--concurrency=4", "--loglevel=ERROR", "--without-gossip", "--without-mingle"]
        )
        return
    begun = [int(path.stem) for path in FOLDER.glob(f"*.begun-by-{number}")]
    unfinished = [task for task in begun if not (FOLDER / f"{task}.done").exists()]
    for task in range(number) if command == "submit" else unfinished:
        buy.delay(task)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
