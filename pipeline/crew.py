"""Worker processes, and work that they do in order, a bounded number of pieces ahead.

Guarantees: results come in the order of the pieces, the same with any number of workers; a worker
ends when its parent was killed, and when its parent wants no more.
Does not: share anything between workers. What goes to them and comes back is pickled.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")


@contextmanager
def crew(workers: int) -> Iterator[ProcessPoolExecutor | None]:
    """So many worker processes, or None where one is asked for: then the work is done here."""
    if workers < 2:
        yield None
        return
    # Not forked: the parent may hold threads of Arrow and of Dagster.
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, _end_with, (os.getpid(),)) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with(parent: int) -> None:
    """Makes a worker end when its parent was killed, which could not tell it to."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def done(
    pool: ProcessPoolExecutor | None,
    work: Callable[[Piece], Result],
    pieces: Iterable[Piece],
    ahead: int,
) -> Iterator[Result]:
    """What work makes of each piece, in their order, at most so many pieces ahead."""
    waiting = iter(pieces)
    if pool is None:
        yield from map(work, waiting)
        return
    running: deque[Future[Result]] = deque()
    while True:
        running.extend(pool.submit(work, piece) for piece in islice(waiting, ahead - len(running)))
        if not running:
            return
        yield running.popleft().result()
