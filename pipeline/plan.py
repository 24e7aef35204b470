"""What a version will cost, from a handful of measured samples, before anything is run.

Lengths are measured on the version's own problems: by rolling out its oracle where it has one, else
on the gold solution with one corrected step more, which is what a model that reflects once writes.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline import problems, rollout, skills, teachers, tokens
from pipeline.mix import EVALUATED
from pipeline.policies import MODELS, GrpoPolicy, OraclePolicy, Stage, StudentStage
from pipeline.types import Problem, State, Trajectory
from pipeline.versions import Version

AnyStage = Stage | StudentStage

MEASURED = 12  # problems of a split
TRAJECTORY_BYTES = 0.2  # in parquet for a character written: 0.18 to 0.26 on oracles and photos


@dataclass(frozen=True, slots=True)
class StagePlan:
    """Expected sizes of one stage; tokens of a trajectory's whole context are counted once, as with
    prefix caching."""

    stage: str
    split: str
    policy: str
    problems: int
    trajectories: int
    model_tokens: int  # written by the model
    context_tokens: int  # read by it: prompts, pictures and observations
    pictures: int  # inputs and observations
    bytes: int  # problems and trajectories in the store
    runnable: bool  # by a backend that is here


STAGES = (
    ("skills", None),
    ("cold", "teacher"),
    ("reflective", "cold_model"),
    ("rl", "reflective_model"),
)


def plan(version: Version) -> Iterator[StagePlan]:
    """One line for each stage, one for what GRPO samples, then the problems to evaluate on."""
    splits = version.problems.splits
    for split, name in STAGES:
        stage: AnyStage | None = getattr(version, name) if name else None
        each = stage.sampling.samples if stage else 1
        yield _planned(version, split, name or split, stage, splits[split] * each)
    if isinstance(grpo := version.grpo_model, GrpoPolicy):
        problems_asked = grpo.steps * grpo.problems_per_step or splits["rl"]
        count = problems_asked * grpo.samples
        line = _planned(version, "rl", "grpo_model", version.reflective_model, count)
        yield replace(line, problems=0, policy="train", bytes=0, runnable=True)  # and not kept
    models = [model for model in MODELS if version.evaluations(model)]
    each = sum(map(version.evaluations, models))
    for split in EVALUATED:
        if splits[split] or split == "evaluation":
            few = min(splits[split], version.evaluation.limit or splits[split])
            line = _planned(version, split, split, None, few * each)
            yield replace(line, policy=f"{len(models)} models")


def _planned(
    version: Version, split: str, name: str, stage: AnyStage | None, count: int
) -> StagePlan:
    wanted = version.problems.splits[split]
    asked = problems.some(version, split, MEASURED)
    states = _measured(version, stage, asked)
    n = max(1, len(states))
    written = sum(tokens.of_text(turn.text) for state in states for turn in state.turns)
    whole = sum(_context(version, state) for state in states)
    drawn = sum(len(state.views) for state in states)
    png = sum(len(image.png) for problem in asked for image in problem.images) / n
    text = sum(len(turn.text) for state in states for turn in state.turns) * TRAJECTORY_BYTES
    return StagePlan(
        stage=name,
        split=split,
        policy=_named(stage),
        problems=wanted,
        trajectories=count,
        model_tokens=round(count * written / n),
        context_tokens=round(count * (whole - written) / n),
        pictures=round(count * drawn / n) if count else 0,
        bytes=round(wanted * png + count * text / n),
        runnable=stage is None or stage.policy.kind in ("train", *teachers.TEACHERS),
    )


def _named(stage: AnyStage | None) -> str:
    if stage is None:
        return "gold"
    return getattr(stage.policy, "model", stage.policy.kind)


def _context(version: Version, state: State) -> int:
    return tokens.estimate(state, version.wire, version.limits.turns(state.problem))


def _measured(version: Version, stage: AnyStage | None, asked: list[Problem]) -> list[State]:
    """What a few trajectories came to."""
    if stage is not None and stage.policy.kind == "oracle":
        return [rollout.retrace(p, t) for p, t in asyncio.run(_rolled_out(version, stage, asked))]
    limits = replace(version.limits, max_context=10**9)
    states = []
    for problem in asked:
        told = skills.gold(problem, limits, version.wire)
        state = rollout.retrace(problem, told)
        states.append(_corrected_once(state) if stage else state)
    return states


def _corrected_once(state: State) -> State:
    """The same state with its first drawing turn, and what it drew, counted twice."""
    added = state.views[len(state.problem.images) :][: state.observed[0]]
    return replace(
        state,
        turns=(state.turns[0], *state.turns),
        views=(*state.views, *added),
        observed=(state.observed[0], *state.observed),
    )


async def _rolled_out(
    version: Version, stage: AnyStage, asked: list[Problem]
) -> list[tuple[Problem, Trajectory]]:
    assert isinstance(stage.policy, OraclePolicy)
    given = Stage(policy=stage.policy, sampling=stage.sampling)
    policy = teachers.policy(given, version, version.seed)
    runs = rollout.rollout(policy, asked, 1, version.limits, version.wire)
    by_id = {problem.id: problem for problem in asked}
    return [(by_id[r.problem_id], r) async for r in runs if isinstance(r, Trajectory)]
