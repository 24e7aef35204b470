"""Trajectories of four turns: parsed, retraced, scored, and asked for both rules of reflection.

They are the oracle's, on the tasks of the version `oracles` alike, seven ops each; one core. The
yardstick is `json.loads` of the JSON blocks in them, which is the least that reading them can take.
"""

import asyncio
import json
from collections.abc import Iterable, Iterator
from itertools import islice

from measure import HEAD, Claim, seconds

from pipeline import canvas, curate, problems, teachers
from pipeline.reward import well_formed
from pipeline.rollout import advance, read_turn, rollout
from pipeline.types import Problem, State, Stop, Trajectory
from pipeline.versions import Version, load

PROBLEMS, SAMPLES = 450, 4


def claims() -> Iterator[Claim]:
    version = load("oracles")
    asked = list(map(problems.make, islice(problems.orders(version, "cold"), PROBLEMS)))
    told = _told(version, asked)
    texts = [[turn.text for turn in trajectory.turns] for trajectory in told]
    by_id = {problem.id: problem for problem in asked}
    opened = [canvas.opened(by_id[t.problem_id], t.sample) for t in told]
    blocks = [text.split("```")[1].removeprefix("json") for ts in texts for text in ts[:-1]]

    def grade(read: Iterable[Trajectory]) -> None:
        """In order, as a set is made from the store."""
        graded = curate.grade(asked, read, version.rules, version.limits.repeats)
        assert all(row.solved is not None for row in graded)

    def offline() -> None:
        """What stored texts cost."""
        grade(
            Trajectory(
                t.problem_id,
                t.sample,
                tuple(read_turn(state, text, version.wire) for text in said),
                t.stop,
            )
            for t, state, said in zip(told, opened, texts, strict=True)
        )

    def online() -> None:
        """What a rollout costs, next to its policy: every turn is checked and drawn as well."""
        grade(_rolled(version, *both) for both in zip(opened, texts, strict=True))

    def yardstick() -> None:
        for block in blocks:
            json.loads(block)

    read, run, least = (len(told) / took for took in seconds(9, offline, online, yardstick))
    for what, rate, wanted in (
        ("four-turn trajectories parsed, scored, both rules", read, "≥ 6,000/s"),
        ("the same, and every turn through `advance`", run, "–"),
    ):
        yield Claim(
            what,
            f"{rate:,.0f}/s",
            f"{least:,.0f}/s, `json.loads` of the blocks",
            f"1 / {least / rate:.0f}",
            wanted,
        )


def _rolled(version: Version, opened: State, texts: Iterable[str]) -> Trajectory:
    """A trajectory from its beginning and its texts."""
    now: State | Trajectory = opened
    for text in texts:
        assert isinstance(now, State)
        now = advance(now, read_turn(now, text, version.wire), version.limits, version.wire)
    assert isinstance(now, Trajectory)
    return now


def _told(version: Version, asked: list[Problem]) -> list[Trajectory]:
    """The oracle's well-formed trajectories of four turns, the answer included."""

    async def every() -> list[Trajectory]:
        policy = teachers.policy(version.teacher, version, version.seed)
        runs = rollout(policy, asked, SAMPLES, version.limits, version.wire)
        return [run async for run in runs if isinstance(run, Trajectory)]

    told = asyncio.run(every())
    return [t for t in told if t.stop is Stop.ANSWERED and len(t.turns) == 4 and well_formed(t)]


if __name__ == "__main__":
    print(HEAD, *claims(), sep="\n")
