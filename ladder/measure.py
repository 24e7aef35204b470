"""One arm, built and evaluated: a record of numbers that outlives the store they were made in."""

import hashlib
import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow.parquet as pq
import torch

from assets import models
from assets.build import Built, build, find
from assets.checks import checks_of
from assets.graph import address, evaluated, needed
from assets.inputs import Inputs
from assets.launch import Launch, process
from ladder.arms import Arm, derived
from pipeline import reward, rows
from pipeline.rollout import retrace
from pipeline.store import Store
from pipeline.types import Box, Problem
from pipeline.versions import Version
from trainers.evaluate import TRAJECTORIES
from trainers.outcomes import Outcome, read, told

WIDE = {"samples": 8, "limit": 200, "greedy": False}  # pass@8 on the first 200 problems
BINS = 10  # of a training's curve
MANY = 4  # turns, and more of them, are counted together
SETS = {"cold": "cold_set", "reflective": "reflective_set"}

Record = dict[str, Any]


class CannotMeasure(Exception):
    """An arm that has nothing to be measured on."""


@dataclass(frozen=True, slots=True)
class Measuring:
    """What arms are measured with."""

    main: Version
    store: Store
    tell: Callable[[str], None]
    launch: Launch = process


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one trajectory, and how many of its boxes hold nothing at its end."""

    problem: Problem
    outcome: Outcome
    greedy: bool
    needless: int


def key(arm: Arm, repetition: int, main: Version) -> str:
    """What a record is about: another model, problem or way of asking is another record.

    Raises:
        StoreError: if the tiny base that the arm begins with is not there.
    """
    version = derived(main, arm.changes, repetition)
    decided = [address(arm.seat, version), address("problems", version), evaluated(version)]
    if arm.like:
        decided.append(address(SETS[arm.like], derived(main, {}, repetition)))
    return _hash([*decided, WIDE if arm.wide else None])


def measure(arm: Arm, repetition: int, using: Measuring) -> Record:
    """Builds what the arm needs, and evaluates its model.

    Raises:
        StoreError, TrainerFailed: if anything of it cannot be built.
        CannotMeasure: if a set that it is to be as large as is empty, or the problems are not sound.
    """
    version = version_of(arm, repetition, using)
    asked = make("problems", version, using)
    for check in checks_of("problems"):
        if not (finding := check(asked)).passed:
            raise CannotMeasure(f"{check.__name__}: {finding.said}")
    built = make(arm.seat, version, using)
    using.tell("  evaluation")
    every = list(_answers(built, asked, version, {}, using))
    sampled = [one for one in every if not one.greedy]
    record = {
        "arm": arm.name,
        "repetition": repetition,
        "key": key(arm, repetition, using.main),
        "problems": identity(asked),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "cores": cores(),
        "samples": version.evaluation.samples,
        "solved": _solved(sampled),
        "greedy": [int(one.outcome.solved) for one in every if one.greedy],
        "numbers": _numbers(sampled),
        "sets": _yields(arm.seat, version, using.store),
        "trained": _trained(arm.seat, version, using.store),
    }
    if arm.wide:
        record["wide"] = _solved(list(_answers(built, asked, version, WIDE, using)))
    return record


def identity(asked: Built) -> str:
    """What tells the held-out problems from others, whatever there is to learn from beside them."""
    told = ("problem_id", "question", "options", "answer", "sha256")
    return _hash([[row[name] for name in told] for row in asked.rows("evaluation", told)])


def version_of(arm: Arm, repetition: int, using: Measuring) -> Version:
    """The arm's version; the set that it is to be as large as is built.

    Raises:
        CannotMeasure: if that set is empty.
    """
    if not arm.like:
        return derived(using.main, arm.changes, repetition)
    theirs = make(SETS[arm.like], derived(using.main, {}, repetition), using).manifest.tables[
        arm.like
    ]
    if not theirs:
        raise CannotMeasure(f"the {arm.like} set that it is to be as large as is empty")
    limit = {f"filters.{arm.like}.limit": theirs}
    return derived(using.main, {**arm.changes, **limit}, repetition)


def make(asset: str, version: Version, using: Measuring) -> Built:
    """An asset with all that it needs."""
    for name in needed([asset], version):
        if find(name, version, using.store) is None:
            using.tell(f"  {name}")
            build(name, version, using.store, using.launch)
    return build(asset, version, using.store, using.launch)


def machine() -> str:
    """What it is measured on."""
    said = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":")[1].strip() for line in said.splitlines() if "model name" in line]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    cpu = f"{cores()} × {names[0] if names else platform.machine()}"
    return ", ".join(filter(None, (device, cpu, f"torch {torch.__version__.split('+')[0]}")))


def cores() -> int:
    """How many this process may use: all, where it cannot be told."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# What a model answered ---------------------------------------------------------------------------


def _answers(
    built: Built, asked: Built, version: Version, other: Mapping[str, Any], using: Measuring
) -> Iterator[Answer]:
    itself = Inputs(using.store, {built.asset: built.address})
    config = {
        **models.evaluation_settings(version),
        **other,
        "policies": [models.policy(version, itself, built.asset).model_dump_json()],
        "names": [built.asset],
        "problems": using.store.local("problems", asked.address).as_posix(),
        "splits": ["evaluation"],
    }
    name = _hash([built.address, evaluated(version), config])
    out = using.store.desk / models.RUNS / f"evaluation-{name}"
    out.mkdir(parents=True, exist_ok=True)
    (out / models.ASKED).write_text(json.dumps({**config, "out": str(out)}, indent=1))
    using.launch("trainers.evaluate", out / models.ASKED)
    problems = {p.id: p for p in map(rows.problem, asked.rows("evaluation", rows.FACTS.names))}
    with pq.ParquetFile(out / TRAJECTORIES) as file:
        for batch in file.iter_batches(256):
            for row in batch.to_pylist():
                trajectory, problem = rows.trajectory(row), problems[row["problem_id"]]
                beside = reward.needless(problem, retrace(problem, trajectory).live)
                boxes = sum(isinstance(mark.op, Box) for mark in beside)
                yield Answer(problem, read(row, trajectory), row["greedy"], boxes)


def _solved(every: list[Answer]) -> list[int]:
    """How many samples of each problem were solved, in the order of problems."""
    counts: dict[str, int] = {}
    for one in every:
        counts[one.problem.id] = counts.get(one.problem.id, 0) + one.outcome.solved
    return [*counts.values()]


def _numbers(sampled: list[Answer]) -> dict[str, Any]:
    """Means over the sampled trajectories; accuracy by task, by kind of answer and by turns, too."""
    numbers = told([one.outcome for one in sampled])
    numbers["needless"] = fmean(one.needless for one in sampled)
    for name in ("task", "kind"):
        of = [(str(getattr(one.problem, name)), one.outcome.solved) for one in sampled]
        numbers[name] = {
            value: fmean(solved for v, solved in of if v == value)
            for value in sorted({v for v, _ in of})
        }
    lengths = Counter(min(one.outcome.turns, MANY) for one in sampled)
    for turns, count in sorted(lengths.items()):
        solved = sum(one.outcome.solved for one in sampled if min(one.outcome.turns, MANY) == turns)
        numbers.setdefault("by_turns", {})[str(turns)] = [count, solved]
    return numbers


# What the model was made from --------------------------------------------------------------------


def _yields(seat: str, version: Version, store: Store) -> dict[str, dict[str, int]]:
    """Rows kept and dropped of the sets that the model was made from."""
    names = [name for name in needed([seat], version) if name in (*SETS.values(), "rl_problems")]
    made = [(name, find(name, version, store)) for name in names]
    return {name: built.manifest.facts["yield"] for name, built in made if built}


def _trained(seat: str, version: Version, store: Store) -> dict[str, Any]:
    """The trainings from the base to the model, by seat: seconds of their steps, and their curves."""
    found = {}
    for name in needed([seat], version):
        built = find(name, version, store)
        if name in models.TRAINERS and built and version.is_trained(name):
            path = Path(store.local(name, built.address)) / models.METRICS
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            seconds = sum(line.get("seconds", 0.0) for line in lines)
            found[name] = {"seconds": round(seconds, 1), "curve": _curve(lines)}
    return found


def _curve(lines: list[dict[str, Any]]) -> list[dict[str, float]]:
    """A training in some lines: validation losses of SFT, means over tenths of GRPO."""
    if checked := [line for line in lines if "validation_loss" in line]:
        return checked
    rewarded = [line for line in lines if "reward" in line]
    size = -(-len(rewarded) // BINS)
    bins = [rewarded[n : n + size] for n in range(0, len(rewarded), size or 1)]
    names = ("reward", "solved", "draw", "strict", "format", "turns", "zero_variance", "entropy")
    return [
        {"step": part[-1]["step"], **{n: fmean(line[n] or 0.0 for line in part) for n in names}}
        for part in bins
    ]


def _hash(decided: Any) -> str:
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()[:16]
