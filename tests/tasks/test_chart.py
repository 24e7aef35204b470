"""Chart: answers from the values alone, lines at their heights, and tops where the pixels end."""

import re
from collections import Counter
from fractions import Fraction
from random import Random

import numpy as np
import pytest

from pipeline.images import decode
from pipeline.tasks.chart import NAMES, Chart
from pipeline.tasks.shapes import COLOURS
from pipeline.types import Box, Line, Problem
from tests.conftest import said, truth


def make(key: object, difficulty: float = 0.5, side: int = 168) -> Problem:
    return Chart(side, side, difficulty, "plain").sample(Random(f"chart/{key}"))


PROBLEMS = [make(n, n % 11 / 10) for n in range(240)]


def values(problem: Problem) -> dict[str, Fraction]:
    return dict(zip(NAMES, map(Fraction, truth(problem)["values"]), strict=False))


def test_the_answer_is_what_the_values_say() -> None:
    seen: Counter[str] = Counter()
    for problem in PROBLEMS:
        known, question = values(problem), problem.question
        if found := re.fullmatch(r"What is the value of (\w)\?", question):
            wanted = known[found[1]]
        elif found := re.fullmatch(r"By how much is (\w) larger than (\w)\?", question):
            wanted = known[found[1]] - known[found[2]]
            assert wanted > 0
        elif found := re.fullmatch(r"How many values are above ([\d.]+)\?", question):
            level = Fraction(found[1])
            wanted = Fraction(sum(value > level for value in known.values()))
            assert level not in known.values()
        else:
            found = re.fullmatch(r"Which column has a value of ([\d.]+)\?", question)
            assert found
            assert known[said(problem)] == Fraction(found[1])
            seen["reached"] += 1
            continue
        seen[question.split()[0] + question.split()[1]] += 1
        assert Fraction(said(problem)) == wanted
    assert len(seen) == 4
    assert min(seen.values()) > 35


def test_no_two_columns_have_one_value() -> None:
    for problem in PROBLEMS:
        known = [*values(problem).values()]
        assert len(set(known)) == len(known)


def test_lines_are_level_and_at_the_height_of_what_they_are_named_after() -> None:
    for problem in PROBLEMS:
        unit, ticks, bottom, top = truth(problem)["axis"]
        for op in (op for step in problem.gold for op in step.ops):
            if isinstance(op, Line):
                value = values(problem).get(op.label)
                value = Fraction(op.label) if value is None else value
                height = bottom - float(value) / (unit * ticks) * (bottom - top)
                (_, y1), (_, y2) = op.p
                assert y1 == y2 == pytest.approx(height, abs=0.51)


def test_a_bar_ends_where_its_top_is_marked() -> None:
    checked = 0
    for problem in PROBLEMS[:80]:
        assert problem.scene is not None
        pixels = decode(problem.images[0])
        for top in problem.scene.objects:
            if not truth(problem)["bars"]:
                continue
            (x1, y1), (x2, y2) = top.p
            x, y = (x1 + x2) // 2, (y1 + y2) // 2
            assert tuple(pixels[y + 1, x]) in COLOURS.values()
            assert tuple(pixels[y - 1, x]) not in COLOURS.values()
            checked += 1
    assert checked > 60


def test_what_is_above_a_level_is_boxed_at_its_top() -> None:
    for problem in PROBLEMS:
        if problem.question.startswith("How many"):
            boxes = [op for s in problem.gold for op in s.ops if isinstance(op, Box)]
            assert len(boxes) == int(said(problem))


def test_values_lie_between_ticks_only_where_it_is_hard() -> None:
    def off_ticks(difficulty: float) -> float:
        shares = []
        for n in range(60):
            problem = make(n, difficulty, 224)
            unit = truth(problem)["axis"][0]
            shares += [value % unit != 0 for value in values(problem).values()]
        return float(np.mean(shares))

    assert off_ticks(0.0) == 0
    assert off_ticks(0.5) > 0.3
    assert off_ticks(1.0) > 0.5


@pytest.mark.parametrize(("difficulty", "most"), [(0.0, 2), (1.0, 7)])
def test_difficulty_turns_the_number_of_columns(difficulty: float, most: int) -> None:
    counts = [len(values(make(n, difficulty))) for n in range(60)]
    assert min(counts) >= 2
    assert max(counts) == most
