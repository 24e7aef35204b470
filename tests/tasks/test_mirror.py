"""Mirror: answers by numpy's own flips and turns, and patterns read back from the pixels."""

import re
from collections import Counter
from random import Random

import numpy as np
import pytest

from pipeline.images import decode
from pipeline.tasks.mirror import Mirror
from pipeline.tasks.shapes import COLOURS
from pipeline.types import Box, Kind, Problem
from tests.conftest import said, truth

TURNS = {
    "mirrored left to right": np.fliplr,
    "mirrored top to bottom": np.flipud,
    "turned by a quarter clockwise": lambda a: np.rot90(a, -1),
    "turned by a quarter counterclockwise": np.rot90,
    "turned upside down": lambda a: np.rot90(a, 2),
}


def make(key: object, difficulty: float = 0.5, side: int = 168) -> Problem:
    return Mirror(side, side, difficulty, "plain").sample(Random(f"mirror/{key}"))


PROBLEMS = [make(n, n % 11 / 10) for n in range(240)]


def patterns(problem: Problem) -> list[np.ndarray]:
    """(rows, columns) of what is filled, read from the pixels."""
    facts, pixels = truth(problem), decode(problem.images[0])
    cell, found = facts["cell"], []
    for n, (left, top) in enumerate(facts["corners"]):
        assert problem.scene is not None
        (x1, _), (x2, _) = problem.scene.objects[n].p
        size = (x2 - x1) // cell
        middles = cell * np.arange(size) + cell // 2
        grid = pixels[np.ix_(top + middles, left + middles)]
        found.append((grid == COLOURS[facts["colour"]]).all(-1))
    return found


def family(problem: Problem) -> str:
    return {"How": "missing", "About": "symmetry", "Which": "changed"}[problem.question.split()[0]]


def test_cells_that_are_missing_are_counted_and_boxed() -> None:
    for problem in (p for p in PROBLEMS if family(p) == "missing"):
        (pattern,) = patterns(problem)
        flip = np.fliplr if "vertical" in problem.question else np.flipud
        lacking = flip(pattern) & ~pattern
        assert int(said(problem)) == lacking.sum()
        facts = truth(problem)
        (left, top), cell = facts["corners"][0], facts["cell"]
        boxes = [op.p for step in problem.gold for op in step.ops if isinstance(op, Box)]
        wanted = {
            (left + x * cell, top + y * cell) for y, x in zip(*lacking.nonzero(), strict=True)
        }
        assert {tuple(first) for first, _ in boxes} == wanted


def test_axes_of_symmetry_are_those_across_which_a_flip_changes_nothing() -> None:
    names = {
        (True, True): "both", (True, False): "only the vertical one",
        (False, True): "only the horizontal one", (False, False): "neither",
    }  # fmt: skip
    seen: Counter[str] = Counter()
    for problem in (p for p in PROBLEMS if family(p) == "symmetry"):
        (pattern,) = patterns(problem)
        holds = tuple(bool((flip(pattern) == pattern).all()) for flip in (np.fliplr, np.flipud))
        assert said(problem) == names[holds]
        seen[said(problem)] += 1
    assert set(seen) == set(names.values())


def test_one_candidate_is_the_original_changed_and_no_other_is() -> None:
    for problem in (p for p in PROBLEMS if family(p) == "changed"):
        original, *candidates = patterns(problem)
        found = re.search("|".join(TURNS), problem.question)
        assert found
        wanted = TURNS[found[0]](original)
        fits = [bool((candidate == wanted).all()) for candidate in candidates]
        assert sum(fits) == 1
        assert "ABCD"[fits.index(True)] == problem.answer
        labels = [op.label for step in problem.gold for op in step.ops]
        assert labels == ["original", problem.answer]


def test_every_question_and_many_answers_occur() -> None:
    assert min(Counter(map(family, PROBLEMS)).values()) > 50
    numbers = Counter(p.answer for p in PROBLEMS if p.kind is Kind.NUMBER)
    assert len(numbers) >= 4
    assert max(numbers.values()) < 0.5 * sum(numbers.values())
    assert set(Counter(p.answer for p in PROBLEMS if family(p) == "changed")) == set("ABCD")


@pytest.mark.parametrize(("difficulty", "fewest", "most"), [(0.0, 3, 3), (1.0, 5, 7)])
def test_difficulty_turns_the_size_of_the_pattern(
    difficulty: float, fewest: int, most: int
) -> None:
    made = [make(n, difficulty, 224) for n in range(60)]
    sizes = [truth(p)["cells"] for p in made if family(p) != "changed"]
    assert (min(sizes), max(sizes)) == (fewest, most)
