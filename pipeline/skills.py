"""Drawing skills: one- and two-turn trajectories from gold ops, which teach the two operations.

Two turns draw everything that matters and answer. One turn is the drawing alone, ended by a limit of
one turn: there the loss falls on nothing but where to draw. They alternate within each task.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pipeline import canvas
from pipeline.grammar import write
from pipeline.protocol import Family, to_wire
from pipeline.rollout import Limits, advance, read_turn
from pipeline.types import Answer, Problem, State, Step, Stop, Trajectory


class GoldError(ValueError):
    """A gold solution that cannot be told: it is wrong, or the version's limits are too tight."""


def trajectories(
    problems: Iterable[Problem], limits: Limits, family: Family
) -> Iterator[Trajectory]:
    """One trajectory for each problem, which must carry gold ops.

    Raises:
        GoldError: if a gold solution cannot be told within the limits.
    """
    told: Counter[str] = Counter()
    for problem in problems:
        turns = (drawing(problem), answer(problem))[: 2 - told[problem.task] % 2]
        told[problem.task] += 1
        yield _told(problem, turns, replace(limits, max_turns=len(turns), task_turns=()), family)


def drawing(problem: Problem) -> Step:
    """All gold steps in one."""
    thought = " ".join(step.thought for step in problem.gold)
    return Step(thought, tuple(op for step in problem.gold for op in step.ops))


def answer(problem: Problem) -> Answer:
    return Answer(problem.conclusion, problem.answer)


def gold(problem: Problem, limits: Limits, family: Family) -> Trajectory:
    """The gold solution as a trajectory, step by step, through text and parsing like any other."""
    return _told(problem, (*problem.gold, answer(problem)), limits, family)


def _told(
    problem: Problem, turns: tuple[Step | Answer, ...], limits: Limits, family: Family
) -> Trajectory:
    now: State | Trajectory = canvas.opened(problem)
    for turn in turns:
        if isinstance(now, Trajectory):
            raise _untellable(problem, f"ends early, {now.stop}")
        if isinstance(turn, Step):  # gold ops target inputs, whose index is the picture's own
            wired = (to_wire(op, problem.images[op.k - 1].size, family) for op in turn.ops)
            turn = replace(turn, ops=tuple(wired))
        now = advance(now, read_turn(now, write(turn), family), limits, family)
    drawn_only = len(turns) == 1 and isinstance(turns[0], Step)
    wanted = Stop.TOO_MANY_TURNS if drawn_only else Stop.ANSWERED
    if isinstance(now, State) or now.stop is not wanted:
        raise _untellable(
            problem, "does not end" if isinstance(now, State) else f"ends, {now.stop}"
        )
    return now


def _untellable(problem: Problem, why: str) -> GoldError:
    return GoldError(
        f"problem {problem.id}: its gold solution {why}; if it is the limits of the version that "
        f"end it, raise max_turns, max_images or max_context under rollout"
    )
