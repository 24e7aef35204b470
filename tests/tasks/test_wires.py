"""Wires: answers and lines, found again from the lanes and from the pixels."""

import re
from collections import Counter
from itertools import pairwise
from random import Random

import numpy as np
import pytest

from pipeline.images import decode
from pipeline.tasks.shapes import COLOURS
from pipeline.tasks.wires import Wires
from pipeline.types import Kind, Line, Problem
from tests.conftest import truth


def make(key: object, difficulty: float = 0.5, side: int = 168) -> Problem:
    return Wires(side, side, difficulty, "plain").sample(Random(f"wires/{key}"))


PROBLEMS = [make(n, n % 11 / 10) for n in range(220)]


def asked(problem: Problem) -> tuple[str, str]:
    """What is asked for, and the name at which the wire is taken up."""
    for kind, pattern in (
        ("end", r"wire from plug (\d) lead"),
        ("start", r"wire at socket (\w) come"),
        ("crossings", r"wire from plug (\d) cross"),
    ):
        if found := re.search(pattern, problem.question):
            return kind, found[1]
    raise AssertionError(problem.question)


def wire_of(problem: Problem) -> int:
    kind, name = asked(problem)
    lanes = truth(problem)["lanes"]
    if kind == "start":
        return [row[-1] for row in lanes].index("ABCDEFG".index(name))
    return [row[0] for row in lanes].index(int(name) - 1)


def crossings(problem: Problem, wire: int) -> int:
    """Pairs of wires that change their order between two columns."""
    lanes = np.array(truth(problem)["lanes"])
    before = np.sign(lanes[wire] - np.delete(lanes, wire, axis=0))
    return int((before[:, 1:] != before[:, :-1]).sum())


def test_the_answer_is_where_the_wire_leads_or_how_often_it_is_crossed() -> None:
    for problem in PROBLEMS:
        kind, _ = asked(problem)
        said = problem.answer
        if problem.kind is Kind.CHOICE:
            said = problem.options["ABCDEFG".index(said)]
        lanes = truth(problem)["lanes"][wire_of(problem)]
        wanted = {
            "end": "ABCDEFG"[lanes[-1]],
            "start": str(lanes[0] + 1),
            "crossings": str(crossings(problem, wire_of(problem))),
        }[kind]
        assert said == wanted, problem.question


def test_no_two_wires_are_on_one_lane_and_none_jumps() -> None:
    for problem in PROBLEMS:
        lanes = np.array(truth(problem)["lanes"])
        assert (np.sort(lanes, axis=0) == np.arange(len(lanes))[:, None]).all()
        assert np.abs(np.diff(lanes, axis=1)).max() <= 1


def test_lines_lead_from_the_name_to_the_end_without_a_gap_or_a_needless_bend() -> None:
    for problem in PROBLEMS:
        facts, wire = truth(problem), wire_of(problem)
        lines = [op for step in problem.gold for op in step.ops if isinstance(op, Line)]
        ends = [
            (facts["xs"][n], facts["ys"][facts["lanes"][wire][n]])
            for n in (0, len(facts["xs"]) - 1)
        ]
        if asked(problem)[0] == "start":
            ends.reverse()
        assert [tuple(lines[0].p[0]), tuple(lines[-1].p[1])] == ends
        for one, two in pairwise(lines):
            assert one.p[1] == two.p[0]
            (a, b), (c, d) = (np.array(line.p[1]) - np.array(line.p[0]) for line in (one, two))
            assert abs(a * d - b * c) > 0 or (a, b) == (0, 0)


def test_level_lines_lie_on_the_wire_s_colour() -> None:
    checked = 0
    for problem in PROBLEMS[:80]:
        pixels, wire = decode(problem.images[0]), wire_of(problem)
        colour = COLOURS[truth(problem)["colours"][wire]]
        for line in (op for step in problem.gold for op in step.ops):
            (x1, y1), (x2, y2) = line.p
            if y1 == y2:
                checked += 1
                assert tuple(pixels[y1, (x1 + x2) // 2]) == colour
    assert checked > 40


def test_every_question_and_many_answers_occur() -> None:
    assert min(Counter(asked(p)[0] for p in PROBLEMS).values()) > 50
    counts = Counter(p.answer for p in PROBLEMS if p.kind is Kind.NUMBER)
    assert len(counts) >= 5
    assert max(counts.values()) < 0.5 * sum(counts.values())


@pytest.mark.parametrize(("difficulty", "wires", "columns"), [(0.0, 2, 3), (1.0, 7, 10)])
def test_difficulty_turns_wires_and_columns(difficulty: float, wires: int, columns: int) -> None:
    found = [truth(make(n, difficulty, 448)) for n in range(60)]
    assert max(len(facts["lanes"]) for facts in found) == wires
    assert max(len(facts["xs"]) - 1 for facts in found) == columns
