"""Relation: every answer and every gold op, found again from the scene's truth by other means."""

import json
import re
from collections import Counter
from random import Random

import numpy as np
import pytest

from pipeline.images import decode
from pipeline.tasks.relation import Relation
from pipeline.tasks.shapes import COLOURS
from pipeline.types import Box, Kind, Line, Problem

FIGURE = r"\w+ (?:circle|square|triangle|diamond|star|cross)"
WORDS = {"to the left of": "left", "to the right of": "right", "above": "top", "below": "bottom"}


def make(key: object, difficulty: float = 0.5, side: int = 112) -> Problem:
    return Relation(side, side, difficulty, "plain").sample(Random(f"relation/{key}"))


PROBLEMS = [make(n, n % 11 / 10) for n in range(330)]


def centres(problem: Problem) -> dict[str, np.ndarray]:
    assert problem.scene is not None
    rows = json.loads(problem.scene.geometry)["figures"]
    return {f"{colour} {form}": np.array([x, y]) for colour, form, x, y, *_ in rows}


def toward(side: str) -> np.ndarray:
    return np.array({"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}[side])


def family(problem: Problem) -> str:
    starts = {"Where is": "side", "Which of these is furthest": "extreme"}
    starts |= {"Which of these is nearest": "nearest", "How many": "number"}
    (name,) = [name for start, name in starts.items() if problem.question.startswith(start)]
    return name


def solved(problem: Problem) -> str:
    """The answer's own text, by the question's words and the centres alone."""
    where, named = centres(problem), re.findall(FIGURE, problem.question)
    kind = family(problem)
    if kind == "side":
        gap = where[named[0]] - where[named[1]]
        scores = {words: float(toward(side) @ gap) for words, side in WORDS.items()}
        return max(scores, key=scores.__getitem__)
    if kind == "extreme":
        side = re.search(r"to the (\w+):", problem.question)
        assert side
        return max(named, key=lambda name: float(toward(side[1]) @ where[name]))
    if kind == "nearest":
        first, *others = named
        return min(others, key=lambda name: float(np.linalg.norm(where[name] - where[first])))
    (side,) = [side for words, side in WORDS.items() if f"are {words} the" in problem.question]
    ahead = [float(toward(side) @ (at - where[named[0]])) > 0 for at in where.values()]
    return str(sum(ahead))


def test_the_answer_is_what_the_places_of_the_figures_say() -> None:
    for problem in PROBLEMS:
        said = problem.answer
        if problem.kind is Kind.CHOICE:
            said = problem.options["ABCD".index(said)]
        assert said == solved(problem), problem.question


def test_no_answer_is_a_close_call() -> None:
    for problem in PROBLEMS:
        where, named = centres(problem), re.findall(FIGURE, problem.question)
        kind = family(problem)
        if kind == "side":
            across, down = np.abs(where[named[0]] - where[named[1]])
            assert abs(across - down) >= 6
        elif kind == "nearest":
            far = sorted(np.linalg.norm(where[name] - where[named[0]]) for name in named[1:])
            assert far[1] - far[0] >= 3.3


def test_every_family_every_side_and_every_letter_occurs() -> None:
    assert min(Counter(map(family, PROBLEMS)).values()) > 40
    sides = Counter(solved(p) for p in PROBLEMS if family(p) == "side")
    assert set(sides) == set(WORDS)
    letters = Counter((len(p.options), p.answer) for p in PROBLEMS if p.options)
    assert {n for n, _ in letters} == {2, 3, 4}
    assert all((n, letter) in letters for n in (2, 3, 4) for letter in "ABCD"[:n])
    numbers = Counter(p.answer for p in PROBLEMS if p.kind is Kind.NUMBER)
    assert len(numbers) >= 4
    assert max(numbers.values()) < 0.5 * sum(numbers.values())


def test_names_are_unique_and_options_are_figures_of_the_picture() -> None:
    for problem in PROBLEMS:
        assert problem.scene is not None
        names = [mark.label for mark in problem.scene.objects]
        assert len(set(names)) == len(names)
        if family(problem) in ("extreme", "nearest"):
            assert set(problem.options) <= set(names)


def test_gold_marks_what_the_question_is_about() -> None:
    for problem in PROBLEMS:
        assert problem.scene is not None
        boxes = {mark.label: mark.p for mark in problem.scene.objects}
        where, named = centres(problem), re.findall(FIGURE, problem.question)
        gold = [op for step in problem.gold for op in step.ops]
        drawn = [op for op in gold if isinstance(op, Box)]
        lines = [op for op in gold if isinstance(op, Line)]
        assert all(op.p == boxes[op.label] for op in drawn)
        assert [op.label for op in drawn[: len(named)]] == named
        if family(problem) == "number":
            assert len(drawn) == 1 + int(problem.answer)
        else:
            assert len(drawn) == len(named)
        assert [line.label for line in lines] == (
            [f"to the {name}" for name in named[1:]] if family(problem) == "nearest" else []
        )
        for line, name in zip(lines, named[1:], strict=False):
            for end, figure in zip(line.p, (named[0], name), strict=True):
                assert np.abs(np.array(end) - where[figure]).max() <= 0.5


def test_each_figure_has_its_colour_at_its_middle() -> None:
    for problem in PROBLEMS[:60]:
        pixels = decode(problem.images[0])
        for name, (x, y) in centres(problem).items():
            if "diamond" not in name:
                assert tuple(pixels[round(y), round(x)]) == COLOURS[name.split()[0]]


@pytest.mark.parametrize(("difficulty", "fewest", "most"), [(0.0, 2, 3), (1.0, 2, 10)])
def test_difficulty_turns_the_number_of_figures(difficulty: float, fewest: int, most: int) -> None:
    counts = {len(centres(make(n, difficulty))) for n in range(120)}
    assert (min(counts), max(counts)) == (fewest, most)
