"""What two datasets differ in: settings, problems, verdicts and distributions, as plain data.

Rows come as streams and leave as counts. Of each problem and trajectory of the first side a digest
of 16 bytes is held; nothing else grows with the number of rows.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import log, pi, sqrt
from typing import Any

EXAMPLES = 3  # ids told of each change of a verdict
DECIMALS = 3  # to which numbers are told apart, so that a tally stays small
KOLMOGOROV_MEAN = sqrt(pi / 2) * log(2)

Place = tuple[str, str]  # split and task


def digest(*parts: str) -> bytes:
    """16 bytes that stand for texts."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()


# Settings ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """A field and its two values; None where a side has no such field, or nothing in it."""

    path: str
    a: Any
    b: Any


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of everything in nested mappings that is itself none, and not None."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from leaves(value, f"{path}.{name}" if path else str(name))
    elif tree is not None:
        yield path, list(tree) if isinstance(tree, tuple) else tree


def changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    """The fields that differ, in the order of the first side and then of the second."""
    before, after = dict(leaves(a)), dict(leaves(b))
    paths = dict.fromkeys((*before, *after))
    told = (Change(path, before.get(path), after.get(path)) for path in paths)
    return [change for change in told if change.a != change.b]


# Problems ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """A problem: where it stands, and the fingerprint of its scene."""

    split: str
    task: str
    id: str
    scene: bytes


FATES = ("only_a", "only_b", "both", "left", "came")


@dataclass(frozen=True, slots=True)
class Met:
    """How many problems of a split and task the sides share, by their scenes.

    ``left`` of A lie in another split of B, and ``came`` of B in another split of A.
    """

    split: str
    task: str
    only_a: int
    only_b: int
    both: int
    left: int
    came: int


def meet(a: Iterable[Asked], b: Iterable[Asked]) -> tuple[list[Met], set[bytes]]:
    """Problems of both sides by split and task, and digests of the ids that ask the same of both.

    Two problems are the same if their scenes are, whatever their ids; no side has a scene twice.
    """
    where: dict[bytes, tuple[Place, bytes]] = {}
    places: dict[Place, Place] = {}  # one object each, however many problems
    counts = {name: Counter[Place]() for name in FATES}
    for asked in a:
        place = (asked.split, asked.task)
        counts["only_a"][place] += 1  # until it is seen in B
        where[asked.scene] = places.setdefault(place, place), digest(asked.id)
    same = set[bytes]()
    for asked in b:
        place = (asked.split, asked.task)
        there, name = where.get(asked.scene, (None, b""))
        if there is None:
            counts["only_b"][place] += 1
            continue
        counts["only_a"][there] -= 1
        if there == place:
            counts["both"][place] += 1
        else:
            counts["left"][there] += 1
            counts["came"][place] += 1
        if name == digest(asked.id):
            same.add(name)
    order = dict.fromkeys(place for counter in counts.values() for place in counter)
    return [Met(*at, *(counts[name][at] for name in FATES)) for at in order], same


# Verdicts ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judged:
    """A row and what its set said of it: "kept", or the reason why it was dropped.

    ``key`` is equal for rows of two sides that are the same.
    """

    key: bytes
    id: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Flow:
    """Rows of both sides that A's set and B's judge so; ``examples`` are the first ids."""

    a: str
    b: str
    count: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flows:
    """What became of rows: ``flows`` are of those of both sides, the largest first."""

    only_a: int
    only_b: int
    flows: tuple[Flow, ...]

    @property
    def both(self) -> int:
        return sum(flow.count for flow in self.flows)

    @property
    def changed(self) -> list[Flow]:
        return [flow for flow in self.flows if flow.a != flow.b]


def flows(a: Iterable[Judged], b: Iterable[Judged]) -> Flows:
    """Verdicts of the one side against those of the other, row by row."""
    names: dict[str, str] = {}  # one object a verdict, however many rows
    before = {row.key: names.setdefault(row.verdict, row.verdict) for row in a}
    counts, examples = Counter[tuple[str, str]](), dict[tuple[str, str], list[str]]()
    only_b = 0
    for row in b:
        verdict = before.get(row.key)
        if verdict is None:
            only_b += 1
            continue
        pair = (verdict, row.verdict)
        counts[pair] += 1
        if counts[pair] <= EXAMPLES:
            examples.setdefault(pair, []).append(row.id)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    told = tuple(Flow(*pair, count, tuple(examples[pair])) for pair, count in ordered)
    return Flows(len(before) - sum(counts.values()), only_b, told)


# Distributions -----------------------------------------------------------------------------------

Value = str | float
Tally = Counter[Value]  # how often each value was seen: all texts, or all numbers


@dataclass(frozen=True, slots=True)
class Distribution:
    """One quantity on both sides. ``a`` and ``b`` are shares by value, or mean and median.

    ``distance`` is 0 for equal distributions and 1 for those that have nothing in common; numbers are
    measured by the largest gap of the cumulative shares, all else by total variation. ``chance`` is
    about the distance of two samples of one distribution, each row drawn on its own.
    """

    of: str  # the asset whose rows they are
    what: str
    numbers: bool
    count_a: int
    count_b: int
    distance: float
    chance: float
    a: Mapping[str, float]
    b: Mapping[str, float]

    @property
    def excess(self) -> float:
        return self.distance - self.chance


def tally(seen: Iterable[tuple[str, Value | None]]) -> dict[str, Tally]:
    """What was seen, by quantity; numbers rounded to `DECIMALS`, and None is not counted."""
    counts: dict[str, Tally] = {}
    for what, value in seen:
        if value is not None:
            told = value if isinstance(value, str) else round(float(value), DECIMALS)
            counts.setdefault(what, Counter())[told] += 1
    return counts


def distributions(
    of: str, a: Mapping[str, Tally], b: Mapping[str, Tally]
) -> Iterator[Distribution]:
    """Every quantity that either side has."""
    for what in dict.fromkeys((*a, *b)):
        left, right = a.get(what, Tally()), b.get(what, Tally())
        numbers = not any(isinstance(value, str) for value in (*left, *right))
        distance = chance = 1.0  # of something and nothing
        if left and right:
            distance = gap(left, right) if numbers else total_variation(left, right)
            chance = by_chance(left, right, numbers)
        told = _centre if numbers else shares
        counts = (left.total(), right.total())
        yield Distribution(of, what, numbers, *counts, distance, chance, told(left), told(right))


def shares(seen: Tally) -> dict[str, float]:
    """The share of each value, the largest first."""
    ordered = sorted(seen.items(), key=lambda item: (-item[1], str(item[0])))
    return {str(value): count / seen.total() for value, count in ordered}


def total_variation(a: Tally, b: Tally) -> float:
    """Half the sum of the differences of shares: the share of rows that would have to change."""
    before, after = shares(a), shares(b)
    values = sorted({*before, *after})
    return sum(abs(before.get(value, 0) - after.get(value, 0)) for value in values) / 2


def gap(a: Tally, b: Tally) -> float:
    """The largest difference of cumulative shares: Kolmogorov's and Smirnov's distance."""
    left = right = 0
    widest = 0.0
    before, after = a.total(), b.total()
    for value in sorted(float(value) for value in {*a, *b}):
        left, right = left + a[value], right + b[value]
        widest = max(widest, abs(left / before - right / after))
    return widest


def by_chance(a: Tally, b: Tally, numbers: bool) -> float:
    """About the mean distance of two samples of what both sides are together.

    For shares a normal approximation; for numbers the mean of the largest gap in the limit of many
    different values, which is too much for few.
    """
    spread = 1 / a.total() + 1 / b.total()
    if numbers:
        return min(1.0, KOLMOGOROV_MEAN * sqrt(spread))
    parts = shares(a + b).values()
    return min(1.0, sum(sqrt(2 / pi * p * (1 - p) * spread) for p in parts) / 2)


def _centre(seen: Tally) -> dict[str, float]:
    """Mean and median; nothing of nothing."""
    if not (count := seen.total()):
        return {}
    mean = sum(float(value) * times for value, times in seen.items()) / count
    return {"mean": mean, "median": (_nth(seen, (count - 1) // 2) + _nth(seen, count // 2)) / 2}


def _nth(seen: Tally, n: int) -> float:
    """The n-th smallest, from 0."""
    for value in sorted(map(float, seen)):
        n -= seen[value]
        if n < 0:
            return value
    raise IndexError("fewer were seen")
