"""How far a long piece of work is: on one line of a terminal, and where none is, in the log.

The log is that of "drawloop", which Dagster shows on a run's page.
"""

import logging
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TextIO, TypeVar

from pipeline.failing import Runs
from pipeline.spending import Spending
from pipeline.types import Failure

EVERY_S = 0.5  # between two looks
LOGGED_S = 30.0  # between two lines of the log
RECENT = 240  # looks over which the pace is taken: what was replayed went faster
LOG = logging.getLogger("drawloop")

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far sampling is."""

    ended: int  # trajectories
    total: int
    left_s: float | None  # at the pace of late; None: there is none yet


def told(items: Iterable[Item], what: str, total: int, to: TextIO | None = None) -> Iterator[Item]:
    """The same items, counted as they pass: "problems: 120 of about 400, 35/s".

    Args:
        total: how many there will be, as far as is known.
        to: where it is written; standard error if not given. Written only to a terminal.
    """
    to = to or sys.stderr
    if not to.isatty():
        yield from items
        return
    start = last = time.monotonic()
    count = 0
    for count, item in enumerate(items, start=1):
        yield item
        if (now := time.monotonic()) - last >= EVERY_S:
            last = now
            _write(to, what, count, total, now - start)
    if count:
        _write(to, what, count, total, time.monotonic() - start)
        to.write("\n")


def _write(to: TextIO, what: str, count: int, total: int, elapsed_s: float) -> None:
    to.write(f"\r{what}: {count:,} of about {total:,}, {count / max(elapsed_s, 1e-6):,.0f}/s  ")
    to.flush()


async def followed(
    runs: Runs,
    what: str,
    total: int,
    spending: Spending,
    to: TextIO | None = None,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> Runs:
    """The same runs, told as they end: how many, why they stopped, tokens a second, time left.

    Args:
        total: how many there will be.
        to: where it is written, if it is a terminal; standard error if not given.
        tell: told at each look, and once before the first run has ended.
    """
    to = to or sys.stderr
    shown, ends = to.isatty(), Counter[str]()
    looks = deque([(time.monotonic(), 0)], maxlen=RECENT)
    logged = looks[0][0]
    tell(Progress(0, total, None))
    async with aclosing(runs):
        async for run in runs:
            yield run
            ends["failed" if isinstance(run, Failure) else str(run.stop)] += 1
            if (now := time.monotonic()) - looks[-1][0] < EVERY_S:
                continue
            looks.append((now, ends.total()))
            left_s = _left_s(ends.total(), total, looks)
            tell(Progress(ends.total(), total, left_s))
            line = _line(what, ends, total, spending, left_s)
            if shown:
                to.write(f"\r\033[K{line}")
                to.flush()
            elif now - logged >= LOGGED_S:
                LOG.info(line)
                logged = now
    if shown and ends:
        left_s = _left_s(ends.total(), total, looks)
        to.write(f"\r\033[K{_line(what, ends, total, spending, left_s)}\n")


def _left_s(count: int, total: int, looks: deque[tuple[float, int]]) -> float | None:
    (since, before), (now, _) = looks[0], looks[-1]
    if not (before < count < total and now > since):
        return None
    return (total - count) * (now - since) / (count - before)


def _line(
    what: str, ends: Counter[str], total: int, spending: Spending, left_s: float | None
) -> str:
    count = ends.total()
    parts = [
        f"{what}: {count:,} of {total:,}",
        ", ".join(f"{reason} {n:,}" for reason, n in ends.most_common()),
    ]
    if spending.turns_replayed:
        parts.append(f"{spending.turns_replayed:,} turns replayed")
    if spending.paid.completion_tokens:
        parts.append(f"{spending.pace:,.0f} tokens/s")
    if spending.cost is not None:
        parts.append(f"cost {spending.cost:,.2f}")
    if left_s is not None:
        parts.append(f"{duration(left_s)} left")
    return "; ".join(parts)


def duration(seconds: float) -> str:
    """In the unit that a person would say it in."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
