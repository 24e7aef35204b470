"""What sampling a version will take, from a few problems that its own policies are asked now.

Turns go through the file of turns: what is asked here is not asked for again by a build. Spread is
that of the mean over the problems asked, at 95 %: it tells nothing of how a server behaves when it
has more to do.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import NamedTuple

from pipeline import problems, spending, teachers, tokens
from pipeline.asking import asking
from pipeline.kept import Said
from pipeline.policies import Stage
from pipeline.replay import Replayed
from pipeline.rollout import retrace, rollout
from pipeline.store import Store
from pipeline.types import Problem, State, Trajectory, Usage
from pipeline.versions import Version

SEATS = (("teacher", "cold"), ("cold_model", "reflective"), ("reflective_model", "rl"))
NORMAL_95 = 1.96


class Estimate(NamedTuple):
    """Of a whole stage: what is expected, and by how much that may be off either way."""

    total: float
    spread: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What a seat's policy took for a few trajectories, for all of its stage."""

    seat: str
    policy: str
    trajectories: int  # of the stage
    measured: int
    failed: int
    prompt_tokens: Estimate
    completion_tokens: Estimate
    seconds: Estimate  # with as many at a time as a build has, each taking as long
    cost: Estimate | None  # in the prices' currency


class _Took(NamedTuple):
    usage: Usage
    seconds: float


def measure(version: Version, store: Store, count: int) -> Iterator[Measured]:
    """A line for every seat whose policy is given, costs something and runs here.

    Raises:
        NoBackend: if a policy's checkpoint cannot be loaded.
        ReplayError: if the file of turns cannot be used.
    """
    for seat, split in SEATS:
        given = version.policy(seat)
        if given.kind not in teachers.TEACHERS or given.kind in teachers.CHEAP:
            continue
        sampling = getattr(version, seat).sampling
        asked = problems.some(version, split, count)
        stage = Stage(policy=given, sampling=sampling)
        took = asyncio.run(_sampled(version, seat, stage, asked, store))
        prices, whole = spending.prices_of(given), version.problems.splits[split] * sampling.samples

        def over(
            number: Callable[[_Took], float], took: list[_Took] = took, whole: int = whole
        ) -> Estimate:
            return extrapolated([number(each) for each in took], whole)

        at_once = teachers.in_flight(stage)
        seconds = extrapolated([each.seconds / at_once for each in took], whole)
        costs = [spending.cost(each.usage, prices) for each in took] if prices else []
        yield Measured(
            seat=seat,
            policy=getattr(given, "model", given.kind),
            trajectories=whole,
            measured=len(took),
            failed=len(asked) - len(took),
            prompt_tokens=over(lambda each: each.usage.prompt_tokens),
            completion_tokens=over(lambda each: each.usage.completion_tokens),
            seconds=seconds,
            cost=extrapolated(costs, whole) if prices else None,
        )


def extrapolated(numbers: Sequence[float], count: int) -> Estimate:
    """The sum of ``count`` numbers like these; of none or one the spread is as large as it is."""
    mean = fmean(numbers) if numbers else 0.0
    if len(numbers) < 2:
        return Estimate(mean * count, mean * count)
    return Estimate(mean * count, NORMAL_95 * stdev(numbers) / len(numbers) ** 0.5 * count)


async def _sampled(
    version: Version, seat: str, stage: Stage, asked: list[Problem], store: Store
) -> list[_Took]:
    """What each trajectory took that did not fail."""
    by_id = {problem.id: problem for problem in asked}
    async with asking(stage, version, seat, store) as (policy, _):
        assert isinstance(policy, Replayed), "what costs is kept"
        runs = rollout(policy, asked, 1, version.limits.of(seat), version.wire)
        done = [run async for run in runs if isinstance(run, Trajectory)]
        return [_took(version, policy, by_id[run.problem_id], run) for run in done]


def _took(version: Version, policy: Replayed, problem: Problem, run: Trajectory) -> _Took:
    usage, seconds = Usage(), 0.0
    for n in range(len(run.turns)):
        state = retrace(problem, replace(run, turns=run.turns[:n]))
        said = policy.said(state)
        assert said is not None, "a turn is kept before it is gone on from"
        usage += said.usage or _counted(version, state, said)
        seconds += said.seconds
    return _Took(usage, seconds)


def _counted(version: Version, state: State, said: Said) -> Usage:
    """An estimate for a backend that counts nothing."""
    prompt = tokens.estimate(state, version.wire, version.limits.turns(state.problem))
    written = tokens.of_text(said.text) if said.ids is None else len(said.ids)
    return Usage(prompt, written, 0, len(state.views), 1)
