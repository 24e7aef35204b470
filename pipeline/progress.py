"""How far a long piece of work is, on one line of a terminal; nothing where nobody looks."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

EVERY_S = 0.5  # between two looks

Item = TypeVar("Item")


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
