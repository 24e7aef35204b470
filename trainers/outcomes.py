"""What came of a trajectory, in numbers; and what a number of them come to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from pipeline import rows
from pipeline.curate import Graded
from pipeline.types import Box, Line, Step, Stop, Trajectory


@dataclass(frozen=True, slots=True)
class Outcome:
    """One trajectory. ``draw`` is None where the scene's truth is not known."""

    problem_id: str
    task: str
    modality: str
    stop: str
    total: float  # S
    correct: float
    format: float
    draw: float | None
    solved: bool
    paper: bool
    strict: bool
    helped: bool
    boxes: int
    lines: int
    turns: int
    tokens: int  # that the model wrote; 0 where its ids are not known


MEANS = ("solved", "correct", "format", "paper", "strict", "helped")
SIZES = ("boxes", "lines", "turns", "tokens")


def outcome(row: Graded) -> Outcome:
    graded = rows.grade_row(row.problem, row.score, row.solved, row.reflection)
    return read(graded, row.trajectory)


def read(graded: rows.Row, trajectory: Trajectory) -> Outcome:
    """From a graded row, as it lies in parquet, and its trajectory."""
    steps = [turn.parsed for turn in trajectory.turns if isinstance(turn.parsed, Step)]
    drawn = [op for step in steps for op in step.ops]
    names = ("task", "modality", "total", "correct", "format", "draw", "solved")
    return Outcome(
        problem_id=trajectory.problem_id,
        stop=str(trajectory.stop),
        **{name: graded[name] for name in (*names, "paper", "strict", "helped")},
        boxes=sum(isinstance(op, Box) for op in drawn),
        lines=sum(isinstance(op, Line) for op in drawn),
        turns=len(trajectory.turns),
        tokens=sum(len(turn.ids or ()) for turn in trajectory.turns),
    )


def told(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Means over trajectories, and the share of each stop reason; ``draw`` is None if never known."""
    draws = [o.draw for o in outcomes if o.draw is not None]
    stops = Counter(o.stop for o in outcomes)
    return {
        "reward": fmean(o.total for o in outcomes),
        **{name: fmean(getattr(o, name) for o in outcomes) for name in (*MEANS, *SIZES)},
        "draw": fmean(draws) if draws else None,
        "stops": {str(stop): stops[stop] / len(outcomes) for stop in Stop if stops[stop]},
    }


def shown(row: Graded) -> dict[str, Any]:
    """A trajectory to look at: its texts, and what they earned."""
    return {
        "id": row.trajectory.id,
        "question": row.problem.question,
        "options": list(row.problem.options),
        "truth": row.problem.answer,
        "turns": [turn.text for turn in row.trajectory.turns],
        "stop": str(row.trajectory.stop),
        "reward": row.score.total,
        "draw": row.score.draw,
        "strict": row.reflection.strict,
    }
