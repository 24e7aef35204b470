"""Alignment: answers and lines, found again from the points alone."""

import re
from collections import Counter
from random import Random
from typing import Any

import numpy as np
import pytest

from pipeline.images import decode
from pipeline.tasks.alignment import DOT, Alignment
from pipeline.types import Box, Kind, Line, Problem
from tests.conftest import said, truth


def make(key: object, difficulty: float = 0.5, side: int = 168) -> Problem:
    return Alignment(side, side, difficulty, "plain").sample(Random(f"alignment/{key}"))


PROBLEMS = [make(n, n % 11 / 10) for n in range(240)]


def family(problem: Problem) -> str:
    starts = {"Which point does the arrow": "hit", "Which point lies on": "between"}
    (name,) = [
        n
        for start, n in (*starts.items(), ("How many", "above"))
        if problem.question.startswith(start)
    ]
    return name


def off(start: Any, end: Any, points: Any) -> np.ndarray:
    """Signed distances of points (n, 2) from the line through two others, px."""
    a, b = np.array(start), np.array(end)
    normal = np.array([a[1] - b[1], b[0] - a[0]]) / np.linalg.norm(b - a)
    return (np.array(points) - a) @ normal


def named(problem: Problem) -> list[int]:
    """The points that the question names."""
    return [int(n) - 1 for n in re.findall(r"\b(\d)\b", problem.question)]


def test_the_arrow_points_at_the_answer_and_at_nothing_else() -> None:
    for problem in (p for p in PROBLEMS if family(p) == "hit"):
        facts = truth(problem)
        tail, tip = map(np.array, facts["arrow"])
        far = np.abs(off(tail, tip, facts["points"]))
        goal = int(said(problem)) - 1
        assert far[goal] < 2.0
        assert np.delete(far, goal).min() > 3.5
        assert (np.array(facts["points"][goal]) - tip) @ (tip - tail) > 0  # ahead of it


def test_the_answer_is_the_only_point_in_line() -> None:
    for problem in (p for p in PROBLEMS if family(p) == "between"):
        points, (first, second) = truth(problem)["points"], named(problem)
        far = np.abs(off(points[first], points[second], points))
        goal = int(said(problem)) - 1
        assert far[goal] < 0.2
        assert np.delete(far, [first, second, goal]).min() >= 4.9


def test_points_above_the_line_are_counted_and_boxed() -> None:
    for problem in (p for p in PROBLEMS if family(p) == "above"):
        points, (first, second) = truth(problem)["points"], named(problem)
        left, right = sorted((points[first], points[second]))
        side = off(left, right, points)
        above = [n for n, value in enumerate(side) if value < -1]
        assert problem.answer == str(len(above))
        boxes = [op.label for s in problem.gold for op in s.ops if isinstance(op, Box)]
        assert boxes == [str(n + 1) for n in above]


def test_the_auxiliary_line_runs_through_what_it_is_about() -> None:
    for problem in PROBLEMS:
        facts = truth(problem)
        (line,) = [op for s in problem.gold for op in s.ops if isinstance(op, Line)]
        if family(problem) == "hit":
            through = [facts["arrow"][0], facts["points"][int(said(problem)) - 1]]
            assert np.abs(np.array(line.p) - np.array(through)).max() <= 0.5
        else:
            through = [facts["points"][n] for n in named(problem)]
            assert np.abs(off(*line.p, through)).max() < 1.5
            width, height = problem.images[0].size
            for x, y in line.p:
                assert min(x, y, width - 1 - x, height - 1 - y) <= 0  # from edge to edge


def test_each_point_is_drawn_where_it_is() -> None:
    for problem in PROBLEMS[:40]:
        pixels = decode(problem.images[0])
        if family(problem) != "hit":  # an arrow may run over one
            for x, y in truth(problem)["points"]:
                assert tuple(pixels[round(y), round(x)]) == DOT


def test_every_question_and_many_answers_occur() -> None:
    assert min(Counter(map(family, PROBLEMS)).values()) > 50
    numbers = Counter(p.answer for p in PROBLEMS if p.kind is Kind.NUMBER)
    assert len(numbers) >= 4
    assert max(numbers.values()) < 0.5 * sum(numbers.values())
    letters = Counter(p.answer for p in PROBLEMS if len(p.options) == 4)
    assert set(letters) == set("ABCD")


@pytest.mark.parametrize(("difficulty", "most"), [(0.0, 4), (1.0, 9)])
def test_difficulty_turns_the_number_of_points(difficulty: float, most: int) -> None:
    counts = [len(truth(make(n, difficulty))["points"]) for n in range(60)]
    assert (min(counts), max(counts)) == (4, most)
