"""One arm, built and evaluated: a record of numbers that outlives the store they were made in."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from assets import models
from assets.build import Built, build, find
from assets.graph import address, needed
from assets.inputs import Inputs
from assets.launch import Launch, process
from ladder.arms import Arm, derived
from pipeline import rows
from pipeline.store import Store
from pipeline.types import Box, Problem
from pipeline.versions import Version
from trainers.evaluate import TRAJECTORIES, Told, outcomes, solved_by_problem
from trainers.outcomes import told

WIDE = {"samples": 8, "limit": 200, "greedy": False}  # pass@8 on the first 200 problems
BINS = 10  # of a training's curve

Record = dict[str, Any]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measuring:
    """What an arm is measured with; ``seconds`` is how long each asset took, by address."""

    main: Version
    store: Store
    seconds: dict[str, float]
    tell: Tell
    launch: Launch = process


def version_of(arm: Arm, repetition: int, using: Measuring) -> Version:
    """The arm's version. One that is sized needs the set that it is to be as large as: it is built."""
    version = derived(using.main, arm.changes, repetition)
    if not arm.sized:
        return version
    like = make("reflective_set", derived(using.main, {}, repetition), using)
    limit = {"filters.reflective.limit": like.manifest.tables["reflective"]}
    return derived(using.main, {**arm.changes, **limit}, repetition)


def make(asset: str, version: Version, using: Measuring) -> Built:
    """An asset with all that it needs; each that was not there is timed."""
    for name in needed([asset], version):
        if find(name, version, using.store) is None:
            started = time.monotonic()
            using.tell(f"  {name}")
            build(name, version, using.store, using.launch)
            taken = time.monotonic() - started
            using.seconds[f"{name}/{address(name, version)}"] = round(taken, 1)
    return build(asset, version, using.store, using.launch)


def key(arm: Arm, version: Version) -> str:
    """What a record is about: another model, or another way of asking, is another record."""
    asked = {**models.evaluation_settings(version), "wide": WIDE if arm.wide else None}
    decided = [address(arm.seat, version), address("problems", version), models.CODE, asked]
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()[:16]


def measure(arm: Arm, repetition: int, version: Version, using: Measuring) -> Record:
    built, asked = make(arm.seat, version, using), make("problems", version, using)
    found = map(rows.problem, asked.rows("evaluation", rows.FACTS.names))
    problems = {problem.id: problem for problem in found}
    using.tell("  evaluation")
    every = list(_evaluated(built, asked, version, {}, using))
    record = {
        "arm": arm.name,
        "repetition": repetition,
        "key": key(arm, version),
        "model": f"{arm.seat}/{built.address}",
        "made_from": _seconds(arm.seat, version, using.seconds),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "samples": version.evaluation.samples,
        **_answers(every),
        "numbers": _numbers([one for one in every if not one.greedy], problems),
        "sets": _sets(version, using.store),
        "curve": _curve(built),
    }
    if arm.wide:
        wide = list(_evaluated(built, asked, version, WIDE, using))
        record["wide"] = _answers(wide)["solved"]
    return record


def machine() -> str:
    """What it is measured on."""
    said = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":")[1].strip() for line in said.splitlines() if "model name" in line]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    cpu = f"{os.cpu_count()} × {names[0] if names else platform.machine()}"
    return ", ".join(filter(None, (device, cpu, f"torch {torch.__version__.split('+')[0]}")))


def _evaluated(
    built: Built, asked: Built, version: Version, other: Mapping[str, Any], using: Measuring
) -> Iterator[Told]:
    itself = Inputs(using.store, {built.asset: built.address})
    config = {
        **models.evaluation_settings(version),
        **other,
        "policies": [models.policy(itself, built.asset).model_dump_json()],
        "names": [built.asset],
        "problems": using.store.local("problems", asked.address).as_posix(),
        "splits": ["evaluation"],
    }
    name = hashlib.sha256(json.dumps([built.address, config], sort_keys=True).encode()).hexdigest()
    out = using.store.desk / models.RUNS / f"evaluation-{name[:16]}"
    out.mkdir(parents=True, exist_ok=True)
    (out / models.ASKED).write_text(json.dumps({**config, "out": str(out)}, indent=1))
    using.launch("trainers.evaluate", out / models.ASKED)
    yield from outcomes(out / TRAJECTORIES)


def _answers(every: list[Told]) -> Record:
    """How many samples of each problem were solved, and whether the greedy one was, in order."""
    solved = solved_by_problem([one.outcome for one in every if not one.greedy])
    greedy = [int(one.outcome.solved) for one in every if one.greedy]
    return {"solved": [sum(tries) for tries in solved.values()], "greedy": greedy}


def _numbers(sampled: list[Told], problems: Mapping[str, Problem]) -> dict[str, Any]:
    """Means over the sampled trajectories; accuracy by task and by kind of answer, too."""
    made = [(problems[one.outcome.problem_id], one.outcome) for one in sampled]
    numbers = told([outcome for _, outcome in made])
    numbers["needless"] = fmean(max(0, o.boxes - _boxes(p)) for p, o in made)
    for name, of in (("task", lambda p: p.task), ("kind", lambda p: str(p.kind))):
        numbers[name] = {
            value: fmean(o.solved for p, o in made if of(p) == value)
            for value in sorted({of(p) for p, _ in made})
        }
    return numbers


def _boxes(problem: Problem) -> int:
    """Boxes that its gold solution needs."""
    return sum(isinstance(op, Box) for step in problem.gold for op in step.ops)


def _seconds(seat: str, version: Version, seconds: Mapping[str, float]) -> dict[str, float]:
    """What the model and all that it was made from took; what was given took nothing."""
    places = (f"{name}/{address(name, version)}" for name in needed([seat], version))
    return {place: seconds[place] for place in places if place in seconds}


def _sets(version: Version, store: Store) -> dict[str, Any]:
    """Yields of the sets that there are."""
    found = {
        name: find(name, version, store) for name in ("cold_set", "reflective_set", "rl_problems")
    }
    return {name: made.manifest.facts["yield"] for name, made in found.items() if made}


def _curve(built: Built) -> list[dict[str, float]]:
    """A training in some lines: validation losses of SFT, means over tenths of GRPO."""
    path = Path(built.inputs.store.local(built.asset, built.address)) / models.METRICS
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    if checked := [line for line in lines if "validation_loss" in line]:
        return checked
    rewarded = [line for line in lines if "reward" in line]
    size = max(1, len(rewarded) // BINS)
    bins = [rewarded[n : n + size] for n in range(0, len(rewarded), size)]
    names = ("reward", "solved", "draw", "strict", "format", "turns", "zero_variance", "entropy")
    return [
        {"step": part[-1]["step"], **{n: fmean(line[n] or 0.0 for line in part) for n in names}}
        for part in bins
    ]
