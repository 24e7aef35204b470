"""Imported problems of a version: every row of its imports, in a split or with the reason why in none.

Guarantees: a row's split is chosen by what it shows (or its group), so that a picture is in one split
however often it is asked about, and whatever rows lie before it; rows are numbered as they lie, so
that ids last; what a split does not need is not kept; rows are read as a stream.
Does not: balance answers or fill up a split: a source that runs out gives what there is, and says so.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline import reward, skills
from pipeline.mix import EVALUATED
from pipeline.policies import MODELS
from pipeline.rollout import retrace
from pipeline.sources import IMPORTS
from pipeline.sources.ingest import Frame, Given, Ingested, Refused, ingest, looks, named
from pipeline.sources.tables import Bad
from pipeline.types import KEPT, SPLITS, Problem, Verdict
from pipeline.versions import Version

LOOKED_AT = 500  # rows of an import, when a few problems are wanted to look at

Sampled = tuple[str, Problem | Refused, Verdict]


@dataclass(frozen=True, slots=True)
class Job:
    """One row to be opened, by a worker perhaps."""

    name: str
    given: Given | Bad
    root: Path | None
    frame: Frame


def open_all(jobs: list[Job]) -> list[Ingested | Refused]:
    return list(map(_opened, jobs))


def _opened(job: Job) -> Ingested | Refused:
    """A row as a problem without a split, or why it is none."""
    if isinstance(job.given, Bad):
        made: Ingested | Verdict = job.given.verdict
    else:
        made = ingest(job.name, job.given, job.root, job.frame)
    if isinstance(made, Ingested):
        return made
    verdict = Verdict(False, made.reason, f"{job.given.place}: {made.detail}".rstrip(": "))
    return Refused(f"{job.name}-{job.given.number:06d}", job.name, verdict)


def jobs(version: Version, name: str) -> Iterator[Job]:
    """Every row of an import, in order.

    Raises:
        SourceError: if it cannot be read.
    """
    section = version.problems.imports[name]
    frame = Frame(version.wire.unit, version.canvas.largest**2)
    for given in IMPORTS[section.kind]()(section):
        yield Job(name, given, section.root, frame)


# Splits ------------------------------------------------------------------------------------------


def splits_of(version: Version, name: str, *, marked: bool) -> dict[str, int]:
    """The splits that a row of an import may be in, with the numbers that are asked for there.

    Drawing skills are told from marks, and an oracle solves by them: a row without is in no such split.
    """
    section, asked = version.problems.imports[name], version.problems.splits
    without = unmarked(version)
    return {
        s: asked[s] for s in SPLITS if s in section.splits and asked[s] and (marked or s in without)
    }


def unmarked(version: Version) -> tuple[str, ...]:
    """The splits whose problems may come without marks."""
    seats: dict[str, tuple[str, ...]] = {"cold": ("teacher",), "reflective": ("cold_model",)}
    seats |= {"rl": (version.reinforced,), "evaluation": MODELS}
    policies = {split: map(version.policy, named) for split, named in seats.items()}
    return tuple(
        split
        for split, sits in policies.items()
        if not any(policy is not None and policy.kind == "oracle" for policy in sits)
    )


def choose(key: bytes, weights: dict[str, int]) -> str:
    """A split for a key, each as often as it weighs. One that grows takes from the others and gives
    nothing up."""

    def waits(split: str) -> float:
        drawn = hashlib.blake2b(key + split.encode(), digest_size=8).digest()
        return -math.log((int.from_bytes(drawn) + 1) / 2**64) / weights[split]

    return min(weights, key=waits)


# What became of rows -----------------------------------------------------------------------------


@dataclass(slots=True)
class Account:
    """What became of the rows of an import: rows = Σ kept + Σ dropped + not_needed."""

    rows: int = 0
    kept: Counter[str] = field(default_factory=Counter)  # by split
    dropped: Counter[str] = field(default_factory=Counter)  # by reason
    not_needed: int = 0  # the split had enough
    read_to_the_end: bool = True


@dataclass(slots=True)
class Ledger:
    """The accounts of a version's imports, and by how much each split falls short."""

    accounts: dict[str, Account] = field(default_factory=dict)
    short: dict[str, int] = field(default_factory=dict)

    def facts(self, version: Version) -> dict[str, Any]:
        """For a manifest: whose each source is, and what became of its rows."""
        said = {}
        for name, account in self.accounts.items():
            section = version.problems.imports[name]
            said[name] = {
                "kind": section.kind,
                "origin": section.origin,
                "licence": section.licence,
                "rows": account.rows,
                "kept": {split: account.kept[split] for split in SPLITS if account.kept[split]},
                "dropped": dict(sorted(account.dropped.items())),
                "not_needed": account.not_needed,
                "read_to_the_end": account.read_to_the_end,
            }
        return said


Opened = Callable[[Iterator[Job]], Iterator[Ingested | Refused]]
Claim = Callable[[str, Problem], Verdict]


def imported(version: Version, ledger: Ledger, opened: Opened, claim: Claim) -> Iterator[Sampled]:
    """(split, problem, verdict) of every row that is needed; without a split where it has none.

    With ``near_duplicates: drop`` sources are read twice, so that what is evaluated on comes first.

    Raises:
        SourceError: if a source cannot be read.
    """
    rounds = [set(EVALUATED), set(SPLITS) - set(EVALUATED)]
    if version.problems.near_duplicates == "keep":
        rounds = [set(SPLITS)]
    filled: Counter[str] = Counter()
    for n, group in enumerate(rounds):
        for name in version.problems.imports:
            account = ledger.accounts.setdefault(name, Account())
            places = _places(version, name, filled)
            for split, problem, verdict in _round(version, name, opened, group, first=n == 0):
                if verdict.keep and not any(places[s] > 0 for s in group):
                    account.read_to_the_end = False
                    break
                account.rows += 1
                if verdict.keep and places[split] <= 0:
                    account.not_needed += 1
                    continue
                if verdict.keep and isinstance(problem, Problem):
                    verdict = _gold_holds(version, problem)
                    verdict = claim(split, problem) if verdict.keep else verdict
                if verdict.keep:
                    places[split] -= 1
                    filled[split] += 1
                    account.kept[split] += 1
                else:
                    account.dropped[verdict.reason] += 1
                yield split, problem, verdict


def _places(version: Version, name: str, filled: Counter[str]) -> Counter[str]:
    """How many problems of each split are to come from an import: its share of those still wanted."""
    problems, names = version.problems, list(version.problems.imports)
    later = [problems.imports[other] for other in names[names.index(name) :]]
    places: Counter[str] = Counter()
    for split in problems.imports[name].splits:
        shares = [one.share for one in later if split in one.splits]
        shares += [maker.share for maker in problems.makers(split).values()]
        wanted = problems.splits[split] - filled[split]
        places[split] = round(wanted * problems.imports[name].share / sum(shares))
    return places


def _round(
    version: Version, name: str, opened: Opened, group: set[str], *, first: bool
) -> Iterator[Sampled]:
    """The rows of an import whose split is in a group; those without a split in the first round."""
    open_to = {marked: splits_of(version, name, marked=marked) for marked in (False, True)}
    for made in opened(jobs(version, name)):
        if isinstance(made, Ingested):
            split = _chosen(made, open_to[bool(made.problem.gold)])
            if split is not None:
                if split in group:
                    yield split, named(made, split), KEPT
                continue
            made = _homeless(name, made, open_to[True])
        if first:
            yield "", made, made.verdict


def _chosen(made: Ingested, weights: dict[str, int]) -> str | None:
    if made.split is not None:
        return made.split if made.split in weights else None
    return choose(made.key, weights) if weights else None


def _homeless(name: str, made: Ingested, with_marks: dict[str, int]) -> Refused:
    """A row that no split takes."""
    if with_marks and (made.split is None or made.split in with_marks):
        verdict = Verdict(False, "no_marks", "an oracle, and drawing skills, need boxes or lines")
    else:
        verdict = Verdict(False, "no_split", f"the version asks nothing of {made.split or name}")
    return Refused(f"{name}-{made.number:06d}", name, verdict)


def _gold_holds(version: Version, problem: Problem) -> Verdict:
    """Whether the marks, told as a trajectory, earn full marks: else they teach what is wrong."""
    if not problem.gold:
        return KEPT
    try:
        told = skills.gold(problem, version.limits, version.wire)
    except ValueError as error:  # it cannot be told, or the grammar cannot hold it
        return Verdict(False, "gold_fails", str(error)[:200])
    score = reward.score(problem, told, retrace(problem, told), version.rules)
    if (score.correct, score.format) == (1, 1) and (score.draw or 0) >= 0.999:
        return KEPT
    return Verdict(False, "gold_fails", f"{told.stop}, {score}")


def marks_of(problem: Problem) -> tuple[bytes, ...]:
    """What no problem of another split may show."""
    every = (f"shows/{look}" for look in looks(problem))
    return tuple(hashlib.blake2b(look.encode(), digest_size=16).digest() for look in every)


def few(version: Version, split: str, count: int) -> Iterator[Problem]:
    """The first problems of a split that imports give, of the first `LOOKED_AT` rows of each."""

    def some(rows: Iterator[Job]) -> Iterator[Ingested | Refused]:
        return map(_opened, islice(rows, LOOKED_AT))

    def kept(split_: str, problem: Problem) -> Verdict:
        return KEPT

    every: Iterable[Sampled] = imported(version, Ledger(), some, kept)
    mine = (p for s, p, verdict in every if s == split and verdict.keep and isinstance(p, Problem))
    yield from islice(mine, count)
