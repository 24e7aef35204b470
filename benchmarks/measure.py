"""How a claim of speed is measured and told: alternating rounds in one run, medians, one row each."""

import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

HEAD = "| claim | ours | yardstick | ratio | asked |\n|---|---|---|---|---|"


class Claim(NamedTuple):
    what: str
    ours: str
    yardstick: str
    ratio: str
    asked: str

    def __str__(self) -> str:
        return f"| {' | '.join(self)} |"


def seconds(rounds: int, *sides: Callable[[], object]) -> list[float]:
    """CPU seconds of one call of each side: the median of rounds in which they take turns."""
    took: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for side, times in zip(sides, took, strict=True):
            start = time.process_time()
            side()
            times.append(time.process_time() - start)
    return [median(times) for times in took]
