"""Worker processes, and work that they do in order, a bounded number of pieces ahead.

Guarantees: results come in the order of the pieces, the same with any number of workers; a worker
ends when its parent was killed, and when its parent wants no more; a worker that is killed is told of
in a line.
Does not: share anything between workers. What goes to them and comes back is pickled.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")


class CrewError(RuntimeError):
    """Workers that cannot be had, or were lost; the message names the remedy."""


def workers() -> int:
    """Processes that an asset may use: ``$DRAWLOOP_WORKERS``, else one a core.

    Raises:
        CrewError: if the variable is no whole number, or below nought.
    """
    given = os.environ.get("DRAWLOOP_WORKERS") or "0"
    if not given.isdecimal():
        raise CrewError(f"DRAWLOOP_WORKERS is {given!r}: set it to a number of processes, as 4")
    return int(given) or os.cpu_count() or 1


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
    """What work makes of each piece, in their order, at most so many pieces ahead.

    Raises:
        CrewError: if a worker was killed.
    """
    waiting = iter(pieces)
    if pool is None:
        yield from map(work, waiting)
        return
    running: deque[Future[Result]] = deque()
    while True:
        try:
            for piece in islice(waiting, ahead - len(running)):
                running.append(pool.submit(work, piece))
            if not running:
                return
            result = running.popleft().result()
        except BrokenProcessPool:
            raise CrewError(
                "a worker process was killed, most likely for want of memory: set DRAWLOOP_WORKERS "
                "to fewer, then build again"
            ) from None
        yield result
