"""Distance: lengths and sizes measured again on the pixels, and what the gold solution draws."""

import math
import re
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.images import decode
from pipeline.tasks.distance import Distance
from pipeline.tasks.shapes import COLOURS
from pipeline.tasks.spans import INK
from pipeline.types import Box, Kind, Line, Problem
from tests.conftest import TEXT_CUES, lead, said, truth, uncompressed


def make(key: object, difficulty: float = 0.5, side: int = 112, wording: Any = "plain") -> Problem:
    return Distance(side, side, difficulty, wording).sample(Random(f"distance/{key}"))


PROBLEMS = [make(n, n % 11 / 10, (112, 168, 224)[n % 3]) for n in range(660)]


def family(problem: Problem) -> str:
    starts = {"Each colour": "pairs", "Which straight": "segments", "Which figure": "figures"}
    starts |= {"By the scale": "scale", "How many whole": "fits"}
    (name,) = [name for start, name in starts.items() if problem.question.startswith(start)]
    return name


def of(kind: str) -> list[Problem]:
    return [problem for problem in PROBLEMS if family(problem) == kind]


def length(span: Any) -> float:
    return math.dist(*span)


def painted(problem: Problem, colour: tuple[int, int, int], off: int = 0) -> np.ndarray:
    """Where a colour is, give or take ``off``: (height, width)."""
    return (np.abs(decode(problem.images[0]).astype(int) - colour) <= off).all(axis=2)


def between_dots(problem: Problem, colour: str) -> float:
    """The distance of the middles of the two blobs of a colour, px."""
    blobs, _, _, middles = cv2.connectedComponentsWithStats(
        painted(problem, COLOURS[colour]).astype(np.uint8)
    )
    assert blobs == 3  # the rest of the picture is one
    return length(middles[1:])


def drawn(problem: Problem, colour: str) -> np.ndarray:
    """Where the one thing of a colour is, edges included, (pixels, 2) as (y, x).

    The paper changes along one side alone, so that its edges tell what it is everywhere.
    """
    pixels = decode(problem.images[0]).astype(int)
    bare = pixels[:, :1] + pixels[:1] - pixels[0, 0]
    _, parts = cv2.connectedComponents((np.abs(pixels - bare).max(axis=2) > 40).astype(np.uint8))
    most = np.bincount(parts[painted(problem, COLOURS[colour])]).argmax()
    return np.argwhere(parts == most)


def extent(problem: Problem, name: str, axis: int) -> int:
    """How far a figure reaches, px."""
    at = drawn(problem, name.split()[0])[:, 1 - axis]
    return int(at.max() - at.min())


def between_ticks(problem: Problem) -> int:
    """The length of the scale bar, px: a row that meets nothing but its ticks has two inked pixels."""
    rows = [np.flatnonzero(row) for row in painted(problem, INK)[-14:]]
    (wide,) = {int(at[1] - at[0]) for at in rows if len(at) == 2}
    return wide


def ranked(problem: Problem, sizes: dict[str, float], most: bool) -> tuple[str, float]:
    """What is largest (or smallest) among the options, and by how much."""
    assert set(sizes) == set(problem.options)
    order = sorted(sizes, key=sizes.__getitem__, reverse=most)
    return order[0], abs(sizes[order[0]] - sizes[order[1]])


def test_the_right_pair_is_clearly_furthest_or_closest_on_the_pixels() -> None:
    for problem in of("pairs"):
        sizes = {colour: between_dots(problem, colour) for colour in problem.options}
        right, ahead = ranked(problem, sizes, "furthest" in problem.question)
        assert said(problem) == right
        assert ahead > 3


def test_the_right_segment_is_clearly_longest_or_shortest_and_all_are_painted() -> None:
    for problem in of("segments"):
        facts = truth(problem)
        sizes = {colour: length(span) for colour, span in facts["spans"].items()}
        right, ahead = ranked(problem, sizes, "longest" in problem.question)
        assert said(problem) == right
        assert ahead > 3
        for colour, span in facts["spans"].items():
            there = painted(problem, COLOURS[colour], off=60)
            for share in np.linspace(0, 1, 20):
                x, y = np.rint((1 - share) * np.array(span[0]) + share * np.array(span[1]))
                assert there[int(y), int(x)]


def test_a_segment_without_fins_ends_where_its_pixels_do() -> None:
    checked = 0
    for problem in of("segments") + of("fits"):
        facts = truth(problem)
        for colour, span in facts["spans"].items():
            if not facts["fins"].get(colour):
                at = drawn(problem, colour).astype(float)
                assert 0 <= widest(at) - length(span) <= 5  # its ends are round
                checked += 1
    assert checked > 300


def widest(at: np.ndarray) -> float:
    """The largest distance of two of some pixels, of those that are outermost some way."""
    turns = np.linspace(0, np.pi, 16)
    ways = np.array([f(np.concatenate([turns, turns + np.pi])) for f in (np.cos, np.sin)])
    ends = at[(at @ ways).argmax(axis=0)]
    return float(np.linalg.norm(ends[:, None] - ends, axis=2).max())


def test_fins_say_nothing_about_the_answer() -> None:
    worn: Counter[int] = Counter()
    right: Counter[int] = Counter()
    with uncompressed("pipeline.tasks.posed"):
        problems = [make(n, 1.0) for n in range(700)]
    for problem in problems:
        if family(problem) == "segments" and "longest" in problem.question:
            fins = truth(problem)["fins"]
            worn.update(fins.values())
            right[fins[said(problem)]] += 1
    for fin in (1, -1):
        share, chance = right[fin] / right.total(), worn[fin] / worn.total()
        assert abs(share - chance) < 4 * (chance / right.total()) ** 0.5


def test_the_right_figure_extends_clearly_furthest_or_least_on_the_pixels() -> None:
    for problem in of("figures"):
        axis = "from top" in problem.question
        sizes = {name: float(extent(problem, name, axis)) for name in problem.options}
        right, ahead = ranked(problem, sizes, "the most" in problem.question)
        assert said(problem) == right
        assert ahead >= 2.5


def test_the_boxes_of_figures_alone_tell_the_answer() -> None:
    for problem in of("figures"):
        axis = "from top" in problem.question
        boxes = [op for step in problem.gold for op in step.ops]
        sizes = {op.label: float(op.p[1][axis] - op.p[0][axis]) for op in boxes}
        right, ahead = ranked(problem, sizes, "the most" in problem.question)
        assert (said(problem), ahead >= 2) == (right, True)


def test_the_scale_bar_measures_the_dots_on_the_pixels() -> None:
    for problem in of("scale"):
        colour = re.search(r"are the (\w+) dots", problem.question)
        assert colour
        bar = between_ticks(problem)
        _, value, _ = truth(problem)["scale"]
        far = between_dots(problem, colour[1]) / bar * value
        half = value / 2
        assert abs(far - int(said(problem))) < 0.25 * half
        assert bar >= 12


def test_whole_times_are_whole_and_what_is_left_over_is_no_close_call() -> None:
    for problem in of("fits"):
        names = re.search(r"the (\w+) segment fit into the (\w+) one", problem.question)
        assert names
        spans = truth(problem)["spans"]
        short, long = (length(spans[name]) for name in names.groups())
        assert int(long // short) == int(said(problem))
        assert min(long % short, short - long % short) >= 2.9


def test_gold_draws_over_exactly_what_is_compared() -> None:
    for problem in of("pairs") + of("segments"):
        (step,) = problem.gold
        assert [op.label for op in step.ops] == [*problem.options]
        for op in step.ops:
            assert isinstance(op, Line)
            assert [list(p) for p in op.p] == truth(problem)["spans"][op.label]


def test_laid_pieces_follow_one_another_and_the_last_names_the_answer() -> None:
    for problem in of("scale") + of("fits"):
        assert len(problem.gold) == 2
        laid = [op for op in problem.gold[1].ops if isinstance(op, Line)]
        assert all(one.p[1] == two.p[0] for one, two in pairwise(laid))
        assert laid[-1].label.split()[0] == said(problem)
        unit = length(problem.gold[0].ops[0].p)  # the bar, or the short segment
        for piece in laid[:-1]:
            assert length(piece.p) == pytest.approx(unit, abs=1.5)
        whole = math.dist(laid[0].p[0], laid[-1].p[1])
        assert whole == pytest.approx(sum(length(op.p) for op in laid), abs=2)


def test_figures_are_boxed_and_nothing_else_is() -> None:
    for problem in PROBLEMS:
        boxes = [op for step in problem.gold for op in step.ops if isinstance(op, Box)]
        assert bool(boxes) == (family(problem) == "figures")


def test_nothing_in_the_text_tells_the_answer() -> None:
    problems = [make(f"cue/{n}", n % 11 / 10, wording="varied") for n in range(600)]
    for name, cue in TEXT_CUES.items():
        assert abs(lead(problems, cue)) < 4, name
    for word in (*COLOURS, "circle", "square", "triangle", "diamond", "star", "cross"):
        offered = [p for p in problems if sum(word in option for option in p.options) == 1]
        named = lead(offered, lambda p, w=word: next(o for o in p.options if w in o))  # type: ignore[misc]
        assert abs(named) < 4, word


def test_every_question_and_many_answers_occur() -> None:
    assert min(Counter(map(family, PROBLEMS)).values()) > 90
    numbers = Counter(p.answer for p in of("fits") if p.kind is Kind.NUMBER)
    assert set("1234") <= set(numbers)
    assert max(numbers.values()) < 0.4 * numbers.total()
    measured = Counter(p.answer for p in of("scale") if p.kind is Kind.NUMBER)
    assert len(measured) >= 12
    assert max(measured.values()) < 0.25 * measured.total()
    assert {p.answer for p in PROBLEMS if p.options} == set("ABCDE")


def test_difficulty_turns_candidates_closeness_fins_and_halves() -> None:
    def found(difficulty: float) -> tuple[int, float, float, float]:
        with uncompressed("pipeline.tasks.posed"):
            problems = [make(n, difficulty, 448) for n in range(150)]
        compared = [p for p in problems if family(p) in ("pairs", "segments")]
        close, worn = [], []
        for problem in compared:
            sizes = sorted(map(length, truth(problem)["spans"].values()))
            most = any(word in problem.question for word in ("furthest", "longest"))
            one, two = (sizes[-1], sizes[-2]) if most else (sizes[0], sizes[1])
            close.append(abs(one - two) / one)
            worn += [fin != 0 for fin in truth(problem)["fins"].values()]
        scaled = [p for p in problems if family(p) == "scale"]
        halves = [int(said(p)) % truth(p)["scale"][1] != 0 for p in scaled]
        count = max(len(p.options) for p in compared)
        return count, *(float(np.mean(values)) for values in (close, worn, halves))

    easy, hard = found(0.0), found(1.0)
    assert (easy[0], hard[0]) == (3, 5)
    assert easy[1] > 0.24 > 0.1 > hard[1] > 0.06
    assert easy[2] == easy[3] == 0
    assert (hard[2] > 0.7, hard[3] > 0.3) == (True, True)


@pytest.mark.parametrize("size", [(112, 448), (448, 128), (196, 112), (1000, 112)])
@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_there_is_room_on_narrow_pictures(size: tuple[int, int], difficulty: float) -> None:
    for n in range(40):
        problem = Distance(*size, difficulty).sample(Random(f"narrow/{n}"))
        assert problem.images[0].size == size
