"""Curation: finished trajectories are graded and filtered into the sets.

A filter is a function of a graded row that answers with a `Verdict`; `sift` asks them in order and
the first that gives a reason decides. Every row that goes in comes out, kept or dropped.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice, pairwise
from math import ceil, floor

from pipeline import geometry, reward
from pipeline.decisions import ACCEPTED, NOBODY, REJECTED, Decision, fingerprint
from pipeline.reflection import Reflection, Tolerance, reflect
from pipeline.reward import Rules
from pipeline.rollout import retrace
from pipeline.types import (
    KEPT,
    Grid,
    Line,
    Problem,
    Score,
    State,
    Stop,
    Trajectory,
    Verdict,
)

# Rows that are graded stage by stage: what is run again and again runs a seventh faster.
AT_ONCE = 16
GRID_REACH = 0.25  # of a cell: how far from a cell's centre a line that visits it may pass


@dataclass(frozen=True, slots=True)
class Graded:
    """A trajectory with all that filters look at."""

    problem: Problem
    trajectory: Trajectory
    state: State
    score: Score
    solved: bool
    reflection: Reflection


Filter = Callable[[Graded], Verdict]


class Unmatched(ValueError):
    """Trajectories and problems that do not belong together: a fault of the store or of ours."""


def grade(
    problems: Iterable[Problem],
    trajectories: Iterable[Trajectory],
    rules: Rules,
    repeats: Tolerance,
) -> Iterator[Graded]:
    """Joins trajectories to their problems, which lie in the same order, and scores them.

    A few rows are read ahead: what cannot be read, or is no trajectory of its problem, raises before
    the rows just before it are told.
    """
    joined = along(problems, trajectories)
    while rows := list(islice(joined, AT_ONCE)):
        states = [retrace(*row) for row in rows]
        scored = [reward.score(*row, state, rules) for row, state in zip(rows, states, strict=True)]
        reflected = [reflect(state.problem, state, repeats) for state in states]
        graded = zip(rows, states, scored, reflected, strict=True)
        for (problem, trajectory), state, score, reflection in graded:
            solved = trajectory.stop is Stop.ANSWERED and reward.solved(problem.kind, score, rules)
            yield Graded(problem, trajectory, state, score, solved, reflection)


def along(
    problems: Iterable[Problem], trajectories: Iterable[Trajectory]
) -> Iterator[tuple[Problem, Trajectory]]:
    """Each trajectory with its problem, one pass over both; problems may lack trajectories."""
    remaining = iter(problems)
    for problem_id, group in groupby(trajectories, key=lambda t: t.problem_id):
        problem = next((p for p in remaining if p.id == problem_id), None)
        if problem is None:
            raise Unmatched(f"trajectories of {problem_id!r} have no problem, or are out of order")
        for trajectory in group:
            yield problem, trajectory


def sift(rows: Iterable[Graded], filters: Sequence[Filter]) -> Iterator[tuple[Graded, Verdict]]:
    """Every row with its verdict: that of the first filter that gives a reason, else it is kept."""
    for row in rows:
        verdicts = (judge(row) for judge in filters)
        yield row, next((verdict for verdict in verdicts if verdict.reason), KEPT)


def cold_filters(min_turns: int, by_hand: Mapping[str, Decision] = NOBODY) -> list[Filter]:
    """The cold set: solved, well-formed, long enough, on the grid, and no exact copies."""
    copies = Copies()
    own = [is_solved, well_formed, long_enough(min_turns), on_grid]
    return [answered, decided(by_hand, copies), *own, unique(copies)]


def reflective_filters(rule: str, by_hand: Mapping[str, Decision] = NOBODY) -> list[Filter]:
    """φ: solved, well-formed and reflective by the rule that the version names, if it names one."""
    copies = Copies()
    own = [is_solved, well_formed, *([] if rule == "none" else [reflective(rule)])]
    return [answered, decided(by_hand, copies), *own, unique(copies)]


class Copies:
    """The texts of the problem that is being sifted, of all that is kept.

    Samples of a problem are neighbours, so that only one problem's texts are remembered.
    """

    def __init__(self) -> None:
        self._problem, self._seen = "", set[str]()

    def add(self, trajectory: Trajectory) -> bool:
        """Remembers what a trajectory says; whether it is the first that says it."""
        if trajectory.problem_id != self._problem:
            self._problem = trajectory.problem_id
            self._seen.clear()
        before = len(self._seen)
        self._seen.add(fingerprint(trajectory))
        return len(self._seen) > before


def decided(by_hand: Mapping[str, Decision], copies: Copies) -> Filter:
    """What a person said of a trajectory goes before all that any other filter says of it.

    A decision about other texts than those that the trajectory has now says nothing. What is
    accepted is among the ``copies`` that later ones are compared with.
    """

    def judge(row: Graded) -> Verdict:
        decision = by_hand.get(row.trajectory.id)
        if decision is None or not decision.is_about(row.trajectory):
            return KEPT
        if decision.keep:
            copies.add(row.trajectory)
        return Verdict(decision.keep, ACCEPTED if decision.keep else REJECTED, decision.note)

    return judge


def drawn_well(least: float) -> Filter:
    """S_draw is at least so much, where the scene's truth is known."""

    def judge(row: Graded) -> Verdict:
        if row.score.draw is None or row.score.draw >= least:
            return KEPT
        return Verdict(False, "poor_drawing", f"S_draw {row.score.draw:.3f}")

    return judge


def answered(row: Graded) -> Verdict:
    """Ended in an answer; the reason of a drop is the stop reason."""
    stop = row.trajectory.stop
    last = row.trajectory.turns[-1].parsed
    detail = getattr(last, "detail", "")
    return KEPT if stop is Stop.ANSWERED else Verdict(False, str(stop), detail)


def is_solved(row: Graded) -> Verdict:
    return KEPT if row.solved else Verdict(False, "wrong", f"S_correct {row.score.correct}")


def well_formed(row: Graded) -> Verdict:
    if row.score.format == 1:
        return KEPT
    lenient = {name for t in row.trajectory.turns for name in getattr(t.parsed, "lenient", ())}
    return Verdict(False, "format", ", ".join(sorted(lenient)) or "a turn had a fault")


def long_enough(min_turns: int) -> Filter:
    def judge(row: Graded) -> Verdict:
        turns = len(row.trajectory.turns)
        return KEPT if turns >= min_turns else Verdict(False, "too_few_turns", str(turns))

    return judge


def reflective(rule: str) -> Filter:
    """``paper``, ``strict``, or ``strict+helped``: strict, and some correction is known to help."""

    def judge(row: Graded) -> Verdict:
        found = row.reflection.paper if rule == "paper" else row.reflection.strict
        if not found:
            return Verdict(False, "not_reflective", rule)
        if rule == "strict+helped" and not row.reflection.helped:
            return Verdict(False, "no_help", rule)
        return KEPT

    return judge


def unique(copies: Copies) -> Filter:
    """No two trajectories of a problem with the same texts; the lowest sample stays."""

    def judge(row: Graded) -> Verdict:
        return KEPT if copies.add(row.trajectory) else Verdict(False, "duplicate")

    return judge


def on_grid(row: Graded) -> Verdict:
    """Live lines pass within ¼ cell of the centre of every cell that they visit."""
    grid = row.problem.scene.grid if row.problem.scene else None
    if grid is None:
        return KEPT
    for mark in row.state.live:
        if isinstance(mark.op, Line) and mark.base == 1:
            far = _farthest(mark.op, grid)
            if far > GRID_REACH:
                return Verdict(False, "off_grid", f"{mark.op.label[:40]!r}: {far:.2f} cells")
    return KEPT


def _farthest(line: Line, grid: Grid) -> float:
    """The largest distance, in cells, from a line to the centre of a cell that it crosses.

    Infinite for a line that leaves the grid.
    """
    (x1, y1), (x2, y2) = (
        ((x - grid.left) / grid.cell, (y - grid.top) / grid.cell) for x, y in line.p
    )
    if not 0 <= min(x1, x2) <= max(x1, x2) <= grid.columns:
        return float("inf")
    if not 0 <= min(y1, y2) <= max(y1, y2) <= grid.rows:
        return float("inf")
    crossed = sorted({0.0, 1.0, *_crossings(x1, x2), *_crossings(y1, y2)})
    middles = [(a + b) / 2 for a, b in pairwise(crossed)]  # of the part of the line in each cell
    cells = {(int(x1 + t * (x2 - x1)), int(y1 + t * (y2 - y1))) for t in middles}
    return max(
        geometry.distance_to_segment(
            grid.left + (column + 0.5) * grid.cell, grid.top + (row + 0.5) * grid.cell, line.p
        )
        / grid.cell
        for column, row in cells
    )


def _crossings(start: float, end: float) -> list[float]:
    """Where, from 0 to 1, a coordinate that runs from start to end passes a whole number."""
    low, high = sorted((start, end))
    return [(n - start) / (end - start) for n in range(ceil(low), floor(high) + 1) if end != start]


# RL problems -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PassRate:
    """How a model does on one problem, over the samples that could be had."""

    problem: Problem
    solved: int
    samples: int
    mean_total: float

    @property
    def rate(self) -> float:
        return self.solved / self.samples if self.samples else 0.0


def pass_rates(problems: Iterable[Problem], rows: Iterable[Graded]) -> Iterator[PassRate]:
    """One row for every problem, in order, also for those of which every sample failed."""
    graded = groupby(rows, key=lambda row: row.trajectory.problem_id)
    name, group = next(graded, ("", iter(())))
    for problem in problems:
        members = list(group) if problem.id == name else []
        if members:
            name, group = next(graded, ("", iter(())))
        total = sum(row.score.total for row in members)
        solved = sum(row.solved for row in members)
        yield PassRate(problem, solved, len(members), total / max(1, len(members)))


def learnable(row: PassRate, samples: int) -> Verdict:
    """Neither always nor never solved: only there do the rewards of a group differ.

    Args:
        samples: how many each problem was to have; with fewer its rate is not what it says.
    """
    if row.samples < samples:
        return Verdict(False, "incomplete", f"{row.samples} of {samples} samples")
    if row.solved == 0:
        return Verdict(False, "never_solved", f"0 of {row.samples}")
    if row.solved == row.samples:
        return Verdict(False, "always_solved", f"{row.samples} of {row.samples}")
    return KEPT
