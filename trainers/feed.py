"""Exported parquet → batches of trajectories, shuffled, of like length, the same on every run.

Guarantees: every row that fits is given once an epoch, or as often as its weight says; the order is a
pure function of seed, epoch and data, so that a resumed run continues it; memory holds a window of
row groups, however many rows there are; a row that does not fit is named with its length.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline import tokens
from pipeline.protocol import FAMILIES, Family
from pipeline.tokens import Vocabulary
from pipeline.types import State
from trainers.exported import (
    TOLD,
    WEIGHT,
    WrongData,
    check_row,
    open_part,
    parts_of,
    read_row,
    stated,
)

WINDOW = 16  # row groups that are shuffled together; two windows stay in memory: 1 GB at most
LIKE = 16  # batches' worth of rows that are sorted by length together


class Ref(NamedTuple):
    """Where a row lies, how many tokens it has, and how often it is to be drawn."""

    part: int
    group: int
    row: int
    length: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that is not trained on."""

    id: str
    length: int


class Feed:
    """The rows of some exports.

    ``refs`` are those that are trained on, ``held`` those held out to validate on (whole problems,
    chosen by a hash of their id), ``refused`` those that are longer than ``max_tokens``.
    """

    def __init__(
        self,
        folders: Sequence[str],
        words: Vocabulary,
        family: str,
        max_tokens: int,
        validation_share: float = 0.0,
    ) -> None:
        self._parts = [open_part(path, TOLD) for folder in folders for path in parts_of(folder)]
        self._groups: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()
        self.family: Family = FAMILIES[family]
        self.refs: list[Ref] = []
        self.held: list[Ref] = []
        self.refused: list[Refusal] = []
        for ref, row in self._index(words, family):
            if ref.length > max_tokens:
                self.refused.append(Refusal(row["id"], ref.length))
            elif _share(row["problem_id"]) < validation_share:
                self.held.append(ref)
            else:
                self.refs.append(ref)
        if not self.refs:
            longest = max((refusal.length for refusal in self.refused), default=0)
            raise WrongData(
                f"no row of {', '.join(folders)} is left to train on: {len(self.refused)} are longer "
                f"than {max_tokens} tokens (up to {longest}), {len(self.held)} are held out"
            )

    def _index(self, words: Vocabulary, family: str) -> Iterator[tuple[Ref, dict[str, Any]]]:
        """Every row with its length; pictures are not read."""
        for p, part in enumerate(self._parts):
            for g in range(part.num_row_groups):
                weigh = [WEIGHT] if WEIGHT in part.schema_arrow.names else []
                table = part.read_row_group(g, columns=[*TOLD, *weigh])
                for n, row in enumerate(table.to_pylist()):
                    check_row(row, family, part.path)
                    state, max_turns = read_row(row, stated, part.path)
                    written = tokens.told(state, words, self.family, max_turns, sampled=False)
                    yield Ref(p, g, n, len(written.ids), row.get(WEIGHT, 1.0)), row

    def epoch(self, number: int, seed: int, batch: int) -> list[list[Ref]]:
        """The batches of an epoch: rows of like length together; the last may be smaller."""
        rng = Random(f"{seed}/epoch/{number}")
        groups = _by_group(_weighed(self.refs, Random(f"{seed}/weights/{number}")))
        rng.shuffle(groups)
        batches: list[list[Ref]] = []
        left: list[Ref] = []
        for some in _windows(groups):
            window = [ref for group in some for ref in group]
            rng.shuffle(window)
            window = left + window
            whole = len(window) // batch * batch
            batches += _alike(window[:whole], batch, rng)
            left = window[whole:]
        return [*batches, left] if left else batches

    def validation(self, batch: int) -> Iterator[list[Ref]]:
        """The rows held out, once, in batches of like length of a window of row groups each."""
        for groups in _windows(_by_group(self.held)):
            window = sorted((ref for group in groups for ref in group), key=lambda ref: ref.length)
            yield from (window[n : n + batch] for n in range(0, len(window), batch))

    def read(self, refs: Sequence[Ref]) -> list[tuple[State, int]]:
        """(state with pictures, turns it might have had) of each row, in the order asked."""
        found = (self._group(ref).slice(ref.row, 1).to_pylist()[0] for ref in refs)
        return [
            read_row(row, stated, self._parts[ref.part].path)
            for row, ref in zip(found, refs, strict=True)
        ]

    def place(self, ref: Ref) -> str:
        """Where a row lies, to be said to a person."""
        return f"{self._parts[ref.part].path}, row group {ref.group}, row {ref.row}"

    def _group(self, ref: Ref) -> pa.Table:
        key = (ref.part, ref.group)
        if key not in self._groups:
            self._groups[key] = self._parts[ref.part].read_row_group(ref.group)
            while len(self._groups) > 2 * WINDOW:  # rows left over from the window before, too
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]


def _by_group(refs: Iterable[Ref]) -> list[list[Ref]]:
    found: dict[tuple[int, int], list[Ref]] = {}
    for ref in refs:
        found.setdefault((ref.part, ref.group), []).append(ref)
    return list(found.values())


def _windows(groups: Sequence[list[Ref]]) -> Iterator[Sequence[list[Ref]]]:
    return (groups[start : start + WINDOW] for start in range(0, len(groups), WINDOW))


def _weighed(refs: list[Ref], rng: Random) -> list[Ref]:
    """As many rows as there are, each as often as its weight says, to one more or less.

    Systematic sampling: even steps from a random start along the weights, laid end to end. Where all
    weigh the same, that is every row once.
    """
    if len({ref.weight for ref in refs}) < 2:
        return refs
    step = sum(ref.weight for ref in refs) / len(refs)
    drawn: list[Ref] = []
    end, start = 0.0, rng.random()
    for ref in refs:
        end += ref.weight
        while len(drawn) < len(refs) and (start + len(drawn)) * step < end:
            drawn.append(ref)
    return drawn


def _alike(window: list[Ref], batch: int, rng: Random) -> list[list[Ref]]:
    """Batches of like length, in random order; what is sorted together is a random sample."""
    batches = []
    for start in range(0, len(window), LIKE * batch):
        near = sorted(window[start : start + LIKE * batch], key=lambda ref: ref.length)
        batches += [near[n : n + batch] for n in range(0, len(near), batch)]
    rng.shuffle(batches)
    return batches


def _share(problem_id: str) -> float:
    """A number from 0 to 1 that a problem keeps for ever."""
    digest = hashlib.blake2b(problem_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
