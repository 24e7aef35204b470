"""What a whole set is to look like: how many trajectories of a problem, of an answer, in all; weights.

Guarantees: who stays is drawn by a hash of ids, so that the same rows give the same set in any order
and on any machine; a smaller limit draws from what a larger one keeps; a few bytes a row in memory.
Does not: look at how good a row is (`curate` does).
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.curate import Filter, Graded
from pipeline.decisions import ACCEPTED
from pipeline.types import KEPT, Kind, Problem, Verdict

FACETS = ("task", "answer", "difficulty")
BANDS = 5  # of difficulty, from 0 to 1
BLOCK = 65_536  # rows that are ranked at a time
MOST_WEIGHT = 5.0  # times the mean: a rare row that is shown over and over is learnt by heart

Numbers = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """Caps on a set, in the order in which they are applied; what is 0 or not named caps nothing.

    Args:
        per_problem: trajectories of one problem.
        balance: by facet, how many times the median of its values a value may have: 2 lets no task have
            more than twice the trajectories of the median task. Answers and bands of difficulty
            are balanced within each task.
        limit: trajectories in all.
    """

    per_problem: int = 0
    balance: tuple[tuple[str, float], ...] = ()
    limit: int = 0

    def __bool__(self) -> bool:
        return bool(self.per_problem or self.balance or self.limit)


def facet_of(name: str, problem: Problem) -> tuple[str, str]:
    """(among, value): what a problem counts as, and among which."""
    if name == "task":
        return "", problem.task
    if name == "answer":  # a letter is the same letter whatever it stands for
        letter = problem.kind is Kind.CHOICE
        return problem.task, f"letter {problem.answer}" if letter else problem.answer
    return problem.task, f"difficulty {min(BANDS - 1, int(problem.difficulty * BANDS))} of {BANDS}"


def shaped(rows: Iterable[tuple[Graded, Verdict]], shape: Shape) -> Filter:
    """A filter that keeps of the rows that were kept what fits the shape; drawn by chance.

    What a person accepted stays besides, and is not counted.
    """
    lots, problems = array("Q"), array("I")
    books = [_Book(name) for name, _ in shape.balance]
    last = ""
    for row, verdict in rows:
        if not verdict.keep or verdict.reason == ACCEPTED:
            continue
        lots.append(_lot(row.trajectory.id))
        if shape.per_problem:
            problems.append((problems[-1] if problems else -1) + (row.problem.id != last))
            last = row.problem.id
        for book in books:
            book.enter(row.problem)
    dropped = _dropped(lots, problems, books, shape)

    def judge(row: Graded) -> Verdict:
        lot = np.uint64(_lot(row.trajectory.id))  # a plain int would make floats of them all
        for reason, those in dropped:
            place = those.searchsorted(lot)
            if place < len(those) and those[place] == lot:
                return Verdict(False, *reason)
        return KEPT

    return judge


class _Book:
    """Which value of a facet each row has."""

    def __init__(self, name: str) -> None:
        self.name, self.codes = name, array("I")
        self._known: dict[tuple[str, str], int] = {}

    def enter(self, problem: Problem) -> None:
        value = facet_of(self.name, problem)
        self.codes.append(self._known.setdefault(value, len(self._known)))

    def most(self, counts: Numbers, ratio: float) -> Numbers:
        """How many rows each value may have: so many times the median of those it is among."""
        among = [group for group, _ in self._known]
        medians = {
            group: float(np.median([c for g, c in zip(among, counts, strict=True) if g == group and c]
                                   or [0]))
            for group in dict.fromkeys(among)
        }  # fmt: skip
        return np.array([ceil(ratio * medians[group]) for group in among], np.int64)


def _dropped(
    lots: "array[int]", problems: "array[int]", books: list[_Book], shape: Shape
) -> list[tuple[tuple[str, str], Numbers]]:
    """(reason, detail) and the sorted lots of those that it drops, cap by cap."""
    drawn = np.frombuffer(lots, np.uint64) if lots else np.zeros(0, np.uint64)
    left = np.argsort(drawn).astype(np.uint32)  # rows that are still in, by lot
    found = []

    def cap(codes: Numbers, most: Numbers, reason: str, detail: str) -> None:
        nonlocal left
        over = _over(codes, left, most)
        found.append(((reason, detail), np.sort(drawn[left[over]])))
        left = left[~over]

    if shape.per_problem and len(left):
        codes = np.frombuffer(problems, np.uint32)
        most = np.full(codes[-1] + 1, shape.per_problem, np.uint32)
        cap(codes, most, "over_per_problem", str(shape.per_problem))
    for book, (name, ratio) in zip(books, shape.balance, strict=True):
        if len(left):
            codes = np.frombuffer(book.codes, np.uint32)
            counts = np.bincount(codes[left], minlength=int(codes.max()) + 1)
            cap(codes, book.most(counts, ratio), "over_represented", f"{name}, {ratio:g} × median")
    if shape.limit:
        one = np.broadcast_to(np.uint32(0), drawn.shape)
        cap(one, np.array([shape.limit]), "over_limit", str(shape.limit))
    return found


def _over(codes: Numbers, rows: Numbers, most: Numbers) -> Numbers:
    """Of each row, in the order given, whether ``most`` of its code stand before it already.

    ``codes`` are those of all rows, ``most`` is by code. Block by block, so that what is held besides
    is a bit for each row and a number for each code.
    """
    before = np.zeros(len(most), np.uint32)
    over = np.empty(len(rows), np.bool_)
    for start in range(0, len(rows), BLOCK):
        own = codes[rows[start : start + BLOCK]]
        over[start : start + BLOCK] = _rank(own) + before[own] >= most[own]
        np.add.at(before, own, 1)
    return over


def _rank(codes: Numbers) -> Numbers:
    """How many of its own code stand before each: [7, 8, 7, 7] → [0, 0, 1, 2]."""
    order = np.argsort(codes, kind="stable")
    together = codes[order]
    starts = np.flatnonzero(np.r_[len(codes) > 0, together[1:] != together[:-1]][: len(codes)])
    sizes = np.diff(np.r_[starts, len(codes)]).astype(np.int64)
    ranks = np.empty(len(codes), np.int64)
    ranks[order] = np.arange(len(codes)) - np.repeat(starts, sizes)
    return ranks


def weights(problems: Iterable[Problem], names: Sequence[str]) -> Callable[[Problem], float]:
    """How often a row is to be drawn, 1 on the whole, so that all values of the facets weigh the same.

    Args:
        problems: of each row of the set, so that a problem of two trajectories comes twice.
        names: facets; with several, it is their combinations that weigh the same. No weight is
            above `MOST_WEIGHT`.
    """

    def stratum(problem: Problem) -> tuple[tuple[str, str], ...]:
        return tuple(facet_of(name, problem) for name in names)

    counts = Counter(map(stratum, problems))
    mean = counts.total() / max(1, len(counts))
    return lambda problem: min(MOST_WEIGHT, mean / counts[stratum(problem)])


def _lot(name: str) -> int:
    """64 bits that an id has for ever."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=16).digest()[:8], "big")
