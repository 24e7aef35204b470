"""Occlusion: what covers what, found again with another rasteriser and compared with the pixels."""

import re
from collections import Counter
from functools import cache
from itertools import combinations, pairwise
from random import Random
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from skimage.draw import polygon2mask

from pipeline.images import decode
from pipeline.tasks.occlusion import Occlusion
from pipeline.tasks.occlusion_phrases import NEITHER
from pipeline.tasks.shapes import COLOURS, outline
from pipeline.types import Box, Kind, Line, Problem
from tests.conftest import TEXT_CUES, lead, said, truth, uncompressed

NAME = r"\w+ (?:circle|square|triangle|diamond|star|cross|bar)"
STARTS = {
    "How many figures are partly hidden by the": "covered by it",
    "How many figures hide a part": "covering it",
    "Which of these is partly": "which covered",
    "Which of these hides": "which covering",
    "How many figures are partly hidden by others": "hidden",
    "How many figures are seen whole": "entire",
    "How many figures are there": "total",
    "Which is in front": "front",
    "What is the order": "order",
}
CORE = np.ones((3, 3), np.uint8)


def make(key: object, difficulty: float = 0.5, side: int = 112, wording: Any = "plain") -> Problem:
    return Occlusion(side, side, difficulty, wording).sample(Random(f"occlusion/{key}"))


PROBLEMS = [make(n, n % 11 / 10, (112, 168, 224)[n % 3]) for n in range(440)]


class Seen(NamedTuple):
    """A pile as its geometry tells it, drawn with another rasteriser."""

    names: list[str]  # front to back
    whole: list[np.ndarray]  # (height, width) each
    seen: list[np.ndarray]

    def over(self, n: int) -> set[int]:
        """Which figures cover a part of one."""
        return {m for m in range(n) if np.count_nonzero(self.whole[m] & self.whole[n]) > 12}

    def under(self, n: int) -> set[int]:
        return {m for m in range(n + 1, len(self.names)) if n in self.over(m)}


@cache
def pile(problem: Problem) -> Seen:
    size = problem.images[0].size
    rows, names, whole, seen = truth(problem)["front to back"], [], [], []
    taken = np.zeros((size.height, size.width), bool)
    for colour, form, x, y, radius, turn in rows:
        corners = [(down, across) for across, down in outline(form, x, y, radius, turn)]
        mask = polygon2mask((size.height, size.width), corners)
        names.append(f"{colour} {form}")
        whole.append(mask)
        seen.append(mask & ~taken)
        taken |= mask
    return Seen(names, whole, seen)


def core(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask that are not at its edge."""
    return cv2.erode(mask.astype(np.uint8), CORE, iterations=2).astype(bool)


def family(problem: Problem) -> str:
    (name,) = [name for start, name in STARTS.items() if problem.question.startswith(start)]
    return name


def asked(problem: Problem) -> list[int]:
    """The figures that the question names."""
    return [pile(problem).names.index(name) for name in re.findall(NAME, problem.question)]


def solved(problem: Problem) -> str:
    there, kind, named = pile(problem), family(problem), asked(problem)
    figures = range(len(there.names))
    if kind in ("covered by it", "which covered"):
        found = there.under(named[0])
    elif kind in ("covering it", "which covering"):
        found = there.over(named[0])
    elif kind == "hidden":
        found = {n for n in figures if there.over(n)}
    elif kind == "entire":
        found = {n for n in figures if not there.over(n)}
    else:
        found = set(figures)
    if kind == "front":
        ahead, behind = sorted(named)
        return there.names[ahead] if ahead in there.over(behind) else NEITHER
    if kind == "order":
        names = [there.names[n] for n in sorted(named)]
        return ", ".join(names if "from front" in problem.question else names[::-1])
    if kind.startswith("which"):
        (name,) = {there.names[n] for n in found} & set(problem.options)
        return name
    return str(len(found))


def test_the_answer_is_what_the_figures_hide_of_one_another() -> None:
    for problem in PROBLEMS:
        assert said(problem) == solved(problem), problem.question


def test_what_is_seen_of_a_figure_has_its_colour() -> None:
    for problem in PROBLEMS:
        pixels = decode(problem.images[0])
        for name, seen in zip(pile(problem).names, pile(problem).seen, strict=True):
            same = (pixels[core(seen)] == COLOURS[name.split()[0]]).all(axis=1)
            assert same.mean() > 0.95  # tips thinner than a pixel reach into it


def test_of_every_figure_enough_is_seen_on_the_pixels() -> None:
    for problem in PROBLEMS:
        pixels, there = decode(problem.images[0]), pile(problem)
        for name, whole, seen in zip(*there, strict=True):
            share = 0.65 - 0.3 * problem.difficulty
            assert np.count_nonzero(seen) >= 0.92 * share * np.count_nonzero(whole)
            coloured = (pixels == COLOURS[name.split()[0]]).all(axis=2) & seen
            assert np.count_nonzero(coloured) >= 12


def test_two_figures_overlap_clearly_or_stay_clearly_apart_and_never_in_one_colour() -> None:
    wide = np.ones((3, 3), np.uint8)
    for problem in PROBLEMS:
        there = pile(problem)
        for m, n in combinations(range(len(there.names)), 2):
            shared = np.count_nonzero(there.whole[m] & there.whole[n])
            near = cv2.dilate(there.whole[m].astype(np.uint8), wide).astype(bool)
            if (near & there.whole[n]).any():
                assert shared > 8
                assert there.names[m].split()[0] != there.names[n].split()[0]


def test_where_one_covers_another_both_are_seen_side_by_side() -> None:
    for problem in PROBLEMS:
        there = pile(problem)
        for n in range(len(there.names)):
            for m in there.over(n):
                near = cv2.dilate(there.seen[m].astype(np.uint8), CORE).astype(bool)
                assert np.count_nonzero(near & there.seen[n]) >= 4


def test_the_one_in_front_is_the_one_whose_colour_is_on_the_overlap() -> None:
    checked = 0
    for problem in (p for p in PROBLEMS if family(p) in ("front", "order")):
        pixels, there = decode(problem.images[0]), pile(problem)
        pairs = pairwise(sorted(asked(problem)))
        for ahead, behind in pairs:
            inside = core(there.seen[ahead] & there.whole[behind])
            checked += bool(inside.any())
            if inside.any():
                same = (pixels[inside] == COLOURS[there.names[ahead].split()[0]]).all(axis=1)
                assert same.mean() > 0.8
    assert checked > 100


def test_boxes_hold_what_is_seen_of_a_figure() -> None:
    for problem in PROBLEMS:
        assert problem.scene is not None
        there = pile(problem)
        for op in (*problem.scene.objects, *(op for s in problem.gold for op in s.ops)):
            if isinstance(op, Box):
                seen = there.seen[there.names.index(op.label)].astype(np.uint8)
                outer, inner = around(seen), around(cv2.morphologyEx(seen, cv2.MORPH_OPEN, CORE))
                drawn = np.array([*op.p[0], *op.p[1]])
                assert (np.minimum(outer, inner) - 4 <= drawn).all()  # what is thin counts or not
                assert (drawn <= np.maximum(outer, inner) + 4).all()


def around(mask: np.ndarray) -> np.ndarray:
    """Left, top, right and bottom of a mask."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def test_gold_boxes_are_what_is_counted() -> None:
    for problem in PROBLEMS:
        kind, there = family(problem), pile(problem)
        boxed = {op.label for s in problem.gold for op in s.ops if isinstance(op, Box)}
        named = {there.names[n] for n in asked(problem)}
        if kind in ("covered by it", "covering it"):
            assert (named <= boxed, len(boxed)) == (True, 1 + int(said(problem)))
        elif kind.startswith("which"):
            assert boxed == named | {said(problem)}
        elif kind in ("front", "order"):
            assert boxed == named
        elif int(said(problem)):
            assert len(boxed) == int(said(problem))
        else:  # none is hidden: all are seen whole
            assert boxed == set(there.names)


def test_lines_lead_from_each_figure_to_the_one_that_it_covers() -> None:
    for problem in (p for p in PROBLEMS if family(p) == "order"):
        there, chain = pile(problem), sorted(asked(problem))
        lines = [op for op in problem.gold[-1].ops if isinstance(op, Line)]
        assert len(lines) == len(chain) - 1
        for line, (one, two) in zip(lines, pairwise(chain), strict=True):
            assert line.label == f"{there.names[one]} over {there.names[two]}"
            assert one in there.over(two)
            for (x, y), figure in zip(line.p, (one, two), strict=True):
                row = truth(problem)["front to back"][figure]
                assert max(abs(row[2] - x), abs(row[3] - y)) <= 0.5


def test_names_are_unique() -> None:
    for problem in PROBLEMS:
        assert len(set(pile(problem).names)) == len(pile(problem).names)


def test_wrong_figures_often_lie_beside_the_one_asked_about_and_do_the_reverse() -> None:
    for problem in (p for p in PROBLEMS if family(p).startswith("which")):
        there, (first,) = pile(problem), asked(problem)
        touching = {there.names[n] for n in there.over(first) | there.under(first)}
        assert len(touching & set(problem.options)) >= 2


def test_nothing_in_the_text_tells_the_answer() -> None:
    with uncompressed("pipeline.tasks.posed"):
        problems = [make(f"cue/{n}", n % 11 / 10, wording="varied") for n in range(600)]
    for name, cue in TEXT_CUES.items():
        assert abs(lead(problems, cue)) < 4, name
    for word in (*COLOURS, "circle", "square", "triangle", "diamond", "star", "cross", "bar"):
        offered = [p for p in problems if sum(word in option for option in p.options) == 1]
        named = lead(offered, lambda p, w=word: next(o for o in p.options if w in o))  # type: ignore[misc]
        assert abs(named) < 4, word
    front = [p for p in problems if NEITHER in p.options]
    answers = Counter("neither" if said(p) == NEITHER else "one" for p in front)
    assert 0.2 < answers["neither"] / answers.total() < 0.47
    first = [p for p in front if said(p) != NEITHER]
    earlier = [p.question.find(said(p)) < max(map(p.question.find, p.options)) for p in first]
    assert 0.35 < np.mean(earlier) < 0.65


def test_every_question_and_many_answers_occur() -> None:
    kinds = Counter(map(family, PROBLEMS))
    assert set(kinds) == set(STARTS.values())
    assert min(kinds.values()) > 20
    for kind, least in (("covered by it", 4), ("covering it", 4), ("hidden", 5), ("total", 6)):
        numbers = Counter(said(p) for p in PROBLEMS if family(p) == kind)
        assert len(numbers) >= least
        assert max(numbers.values()) < 0.45 * numbers.total()
    assert {p.kind for p in PROBLEMS} == set(Kind)
    assert {p.answer for p in PROBLEMS if len(p.options) == 4} == set("ABCD")


def test_difficulty_turns_the_number_of_figures_and_how_much_is_hidden() -> None:
    def found(difficulty: float) -> tuple[int, float]:
        counts, shares = [], []
        with uncompressed("pipeline.tasks.posed"):
            problems = [make(n, difficulty, 224) for n in range(90)]
        for problem in problems:
            there = pile(problem)
            counts.append(len(there.names))
            for whole, seen in zip(there.whole, there.seen, strict=True):
                shares.append(np.count_nonzero(seen) / np.count_nonzero(whole))
        return max(counts), float(min(shares))

    easy, hard = found(0.0), found(1.0)
    assert (easy[0] <= 7, hard[0]) == (True, 10)
    assert easy[1] > 0.6
    assert 0.32 < hard[1] < 0.5


@pytest.mark.parametrize("size", [(112, 448), (448, 128), (196, 112), (1000, 112)])
@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_there_is_room_on_narrow_pictures(size: tuple[int, int], difficulty: float) -> None:
    for n in range(30):
        problem = Occlusion(*size, difficulty).sample(Random(f"narrow/{n}"))
        assert problem.images[0].size == size
