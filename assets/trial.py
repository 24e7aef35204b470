"""A few problems through every stage, in memory: what `drawloop try` shows before a big run."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from assets import bodies, models
from assets.build import find
from assets.graph import address
from assets.inputs import Inputs
from pipeline import curate, figures, problems, skills, teachers
from pipeline.asking import asking
from pipeline.images import png
from pipeline.policies import Policy, Sampling, Stage
from pipeline.rollout import rollout
from pipeline.store import Store
from pipeline.types import KEPT, Failure, Problem, Trajectory, Verdict
from pipeline.versions import Version


def trial(version: Version, store: Store, count: int, folder: Path) -> Iterator[str]:
    """Lines to print; the pictures of each trajectory go into ``folder``.

    A model that the version trains is tried if it has been built. Turns are kept where they cost: a
    build of the version does not ask for them again.

    Raises:
        NoBackend: if the version names a policy that cannot be run here.
        GoldError: if the version's limits are too tight for a gold solution.
    """
    folder.mkdir(parents=True, exist_ok=True)
    yield "== gold solutions on skills problems"
    for problem in problems.some(version, "skills", count):
        gold = skills.gold(problem, version.limits, version.wire)
        (row,) = curate.grade([problem], [gold], version.rules, version.limits.repeats)
        yield from told(row, KEPT, "skills", folder)
    stages: tuple[tuple[str, str, list[curate.Filter]], ...] = (
        ("teacher", "cold", bodies.filters(version, "cold")),
        ("cold_model", "reflective", bodies.filters(version, "reflective")),
        (version.reinforced, "rl", []),
    )
    for name, split, chosen in stages:
        asked_for = version.policy(name)
        yield f"\n== {name} ({asked_for.kind}) on {split} problems"
        given = asked_for.kind in teachers.TEACHERS
        policy = asked_for if given else _made(version, name, store)
        if policy is None:
            yield f"   it is made by this version: `drawloop build {version.name}` first"
            continue
        stage = Stage(policy=policy, sampling=_sampling(version, name, split))
        asked = problems.some(version, split, count)
        if not asked:
            yield f"   none: sources have nothing for {split}"
        samples = stage.sampling.samples if split == "rl" else 1
        done, failures = asyncio.run(sampled(version, name, stage, asked, samples, store))
        yield from (f"   {f.problem_id}#{f.sample}: failed: {f.reason}" for f in failures)
        graded = list(curate.grade(asked, done, version.rules, version.limits.repeats))
        for row, verdict in curate.sift(graded, chosen):
            if row.trajectory.sample == 0:
                yield from told(row, verdict, split, folder)
        if split == "rl":
            for passed in curate.pass_rates(asked, graded):
                keep, reason, _ = curate.learnable(passed, samples)
                solved = f"solved {passed.solved} of {passed.samples}"
                yield f"   {passed.problem.id}: {solved}: {_said(keep, reason)}"


def _sampling(version: Version, seat: str, split: str) -> Sampling:
    found: Sampling = getattr(version, "reflective_model" if split == "rl" else seat).sampling
    return found


def _made(version: Version, model: str, store: Store) -> Policy | None:
    """The model that a version trains or takes from elsewhere, if it is in the store."""
    if find(model, version, store) is None:
        return None
    inputs = Inputs(store, {model: address(model, version)})
    given: Policy = models.policy(version, inputs, model)
    return given


def told(row: curate.Graded, verdict: Verdict, split: str, folder: Path) -> Iterator[str]:
    """A trajectory in lines, with its grade and its verdict; its pictures are one in ``folder``."""
    problem, trajectory = row.problem, row.trajectory
    path = folder / f"{trajectory.id.replace('#', '-')}.png"
    path.write_bytes(png(figures.story(problem, trajectory, row.state)))
    options = " ".join(f"{chr(65 + n)}. {option}" for n, option in enumerate(problem.options))
    yield f"\n   {problem.id}: {problem.question} {options}"
    for number, turn in enumerate(trajectory.turns, start=1):
        yield f"   {number:>2}. " + turn.text.replace("\n", "\n       ")[:700]
    score = row.score
    drawn = "unknown" if score.draw is None else f"{score.draw:.2f}"
    yield (
        f"   → {trajectory.stop}, truth {problem.answer}: S {score.total:g} (correct {score.correct:g}, "
        f"format {score.format:g}, drawing {drawn}); reflection: paper {row.reflection.paper}, "
        f"strict {row.reflection.strict}"
    )
    if split != "rl":
        yield f"   → {_said(verdict.keep, verdict.reason)} {verdict.detail}".rstrip()
    yield f"   → {path}"


def _said(keep: bool, reason: str) -> str:
    return "kept" if keep else f"dropped: {reason}"


async def sampled(
    version: Version, seat: str, stage: Stage, asked: list[Problem], samples: int, store: Store
) -> tuple[list[Trajectory], list[Failure]]:
    async with asking(stage, version, seat, store) as (policy, _):
        runs = rollout(policy, asked, samples, version.limits.of(seat), version.wire)
        done = [run async for run in runs]
    return (
        [run for run in done if isinstance(run, Trajectory)],
        [run for run in done if isinstance(run, Failure)],
    )
