"""Intervals over problems, and pass@k."""

from itertools import combinations
from statistics import NormalDist, fmean

import numpy as np
import pytest

from trainers.bootstrap import difference, interval, pass_at


def test_the_interval_of_many_values_is_that_of_the_central_limit() -> None:
    values = list(np.random.default_rng(0).binomial(1, 0.3, 2000).astype(float))
    found = interval(values, 4000)
    share = fmean(values)
    width = NormalDist().inv_cdf(0.975) * (share * (1 - share) / len(values)) ** 0.5
    assert found.mean == pytest.approx(share)
    assert found.low == pytest.approx(share - width, abs=0.1 * width)
    assert found.high == pytest.approx(share + width, abs=0.1 * width)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        found = interval(list(rng.normal(0.5, 1.0, 60)), 300, seed=trial)
        covered += found.low <= 0.5 <= found.high
    assert 0.89 <= covered / 200 <= 0.99


def test_a_paired_difference_is_narrower_than_its_parts() -> None:
    rng = np.random.default_rng(2)
    hard = rng.random(300)
    ours, theirs = list(hard + 0.05), list(hard + rng.normal(0, 0.01, 300))
    found = difference(ours, theirs, 1000)
    assert 0.04 < found.low < 0.05 < found.high < 0.06
    assert interval(ours, 1000).high - interval(ours, 1000).low > 5 * (found.high - found.low)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [0.0, 1.0, 0.5, 0.25]
    assert interval(values, 500, seed=4) == interval(values, 500, seed=4)


def test_what_cannot_be_paired_is_refused() -> None:
    with pytest.raises(ValueError, match="3 problems against 2"):
        difference([1, 0, 1], [0, 1], 10)


@pytest.mark.parametrize("samples", [1, 4, 8])
def test_pass_at_k_is_the_share_of_subsets_in_which_something_is_solved(samples: int) -> None:
    for solved in range(samples + 1):
        tries = [True] * solved + [False] * (samples - solved)
        for k in range(1, samples + 1):
            subsets = list(combinations(tries, k))
            share = sum(any(subset) for subset in subsets) / len(subsets)
            assert pass_at(k, solved, samples) == pytest.approx(share)


def test_pass_at_more_than_there_are_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="pass@5 of 4"):
        pass_at(5, 1, 4)
