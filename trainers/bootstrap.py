"""Intervals by resampling problems: samples of one problem are not independent of each other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
CHUNK = 64  # resamples drawn at a time


class Interval(NamedTuple):
    mean: float
    low: float
    high: float


def interval(values: Sequence[float], draws: int, seed: int = 0) -> Interval:
    """The mean of one value a problem, and where 95 % of the means of resampled problems lie."""
    given = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = []
    for start in range(0, draws, CHUNK):
        picked = rng.integers(0, len(given), (min(CHUNK, draws - start), len(given)))
        means.append(given[picked].mean(1))
    edge = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(means), (edge, 1 - edge)) if draws else (np.nan,) * 2
    return Interval(float(given.mean()), float(low), float(high))


def difference(
    ours: Sequence[float], theirs: Sequence[float], draws: int, seed: int = 0
) -> Interval:
    """The mean of ours − theirs, paired by problem, with its interval.

    Raises:
        ValueError: if they are not about the same number of problems.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} problems against {len(theirs)}: they cannot be paired")
    pairs = zip(ours, theirs, strict=True)
    return interval([a - b for a, b in pairs], draws, seed)


def pass_at(k: int, solved: int, samples: int) -> float:
    """The chance that one of ``k`` of the samples, drawn without putting back, is solved.

    Unbiased (Chen et al. 2021, arXiv 2107.03374, equation 1).
    """
    if not 0 < k <= samples:
        raise ValueError(f"pass@{k} of {samples} samples")
    missed = 1.0
    for n in range(samples - solved + 1, samples + 1):
        missed *= 1 - k / n
    return 1 - missed if samples - solved >= k else 1.0
