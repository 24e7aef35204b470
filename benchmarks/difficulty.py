"""How hard the synthetic tasks are for whoever does not draw: blind guesses and a single look.

    python benchmarks/difficulty.py [TASK …]

For each task and difficulty 0, 0.5 and 1, `ASKED` problems at 224 × 224 px are answered by
- a blind guesser, which sees question and options, and has seen `KNOWN` other problems of the same
  task and difficulty with their answers (``blind.py``);
- a crude look at the plain pictures, where one is written (``glance.py``);
- the gold solution.
All are graded by the one scorer. Shares solved go to ``difficulty.json``; tasks that are not named
keep theirs. ``docs/tasks.py`` makes the page of them.
"""

import argparse
import json
import math
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import NamedTuple

from benchmarks import blind
from benchmarks.glance import HEURISTICS
from pipeline import reward, skills
from pipeline.images import decode
from pipeline.protocol import FAMILIES
from pipeline.reward import Rules
from pipeline.rollout import Limits, retrace
from pipeline.sources import SOURCES
from pipeline.tasks import TASKS
from pipeline.types import Problem, Score

LEVELS = (0.0, 0.5, 1.0)
SIDE, UNIT = 224, 28  # px
KNOWN, ASKED = 1000, 400  # problems
PLACE = Path(__file__).with_name("difficulty.json")
RULES = Rules()


class Measured(NamedTuple):
    """Shares of problems solved. ``look`` is None where no heuristic is written."""

    task: str
    difficulty: float
    asked: int  # problems
    choices: float  # of them with options
    chance: float  # of choices: one over the number of options, on average
    blind_choice: float  # of choices
    blind_number: float  # of numbers
    blind: float
    look: float | None
    gold: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="all, if none is named")
    names = parser.parse_args().tasks or [*TASKS, *SOURCES]
    for name in names:
        rows = [measured(name, difficulty) for difficulty in LEVELS]
        print(*rows, sep="\n", flush=True)
        record([row for row in recorded() if row.task != name] + rows)


def record(rows: Iterable[Measured]) -> None:
    """Writes the rows of tasks that there are, in their order."""
    order = [*TASKS, *SOURCES]
    known = sorted((row for row in rows if row.task in order), key=lambda r: order.index(r.task))
    lines = ",\n".join(json.dumps(row._asdict()) for row in known)
    PLACE.write_text(f"[\n{lines}\n]\n")


def recorded() -> list[Measured]:
    """What was measured last, task by task, the easiest level first."""
    return [Measured(**row) for row in json.loads(PLACE.read_text())] if PLACE.exists() else []


def measured(name: str, difficulty: float, known: int = KNOWN, asked: int = ASKED) -> Measured:
    """One line of the table."""
    seen = [made(name, difficulty, f"known/{n}", "rl") for n in range(known)]
    guess = blind.fitted([(p.question, p.options, p.answer) for p in seen])
    problems = [made(name, difficulty, f"asked/{n}", "evaluation") for n in range(asked)]
    blindly = [solves(p, guess(p.question, p.options)) for p in problems]
    choices = [bool(problem.options) for problem in problems]
    chances = [1 / len(problem.options) for problem in problems if problem.options]
    return Measured(
        task=name,
        difficulty=difficulty,
        asked=asked,
        choices=_share(choices),
        chance=_share(chances),
        blind_choice=_share([b for b, choice in zip(blindly, choices, strict=True) if choice]),
        blind_number=_share([b for b, choice in zip(blindly, choices, strict=True) if not choice]),
        blind=_share(blindly),
        look=_share([solves(p, glance(p)) for p in problems]) if name in HEURISTICS else None,
        gold=_share([gold_solves(problem) for problem in problems]),
    )


def made(name: str, difficulty: float, key: str, split: str) -> Problem:
    """A problem of a stream of its own: none of a version, whose keys begin with a seed."""
    rng = Random(f"difficulty/{name}/{difficulty}/{key}")
    if name in TASKS:
        task = TASKS[name]()(width=SIDE, height=SIDE, difficulty=difficulty, wording="varied")
        return task.sample(rng)
    source = SOURCES[name]()(
        width=SIDE, height=SIDE, unit=UNIT, difficulty=difficulty, wording="varied"
    )
    return source.sample(rng, split)


def glance(problem: Problem) -> str:
    """A heuristic's answer from pixels, question and options alone."""
    look = HEURISTICS[problem.task]
    return look([decode(image) for image in problem.images], problem.question, problem.options)


def solves(problem: Problem, text: str) -> bool:
    right = reward.correct(problem, text)
    return reward.solved(problem.kind, Score(right, 1.0, None, right + 1.0), RULES)


def gold_solves(problem: Problem) -> bool:
    told = skills.gold(problem, Limits(), FAMILIES["qwen2.5-vl"])
    score = reward.score(problem, told, retrace(problem, told), RULES)
    return reward.solved(problem.kind, score, RULES)


def interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of ``count``."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2) * z / (1 + z * z / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def _share(values: list[bool] | list[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0


if __name__ == "__main__":
    main()
