"""Appearance: answers found again from the pixels where colours tell figures apart, and from the
scene's own numbers elsewhere; gold against what can be seen, balance, bounds."""

import json
import math
import re
from collections import Counter
from functools import cache
from itertools import combinations, pairwise
from random import Random
from typing import Any

import numpy as np
import pytest

from pipeline.images import decode
from pipeline.tasks import appearance_phrases as phrases
from pipeline.tasks.appearance import Appearance
from pipeline.tasks.shapes import COLOURS
from pipeline.tasks.visits import Room
from pipeline.types import Box, Kind, Modality, Op, Problem

WORLDS = ("open", "edges", "doors")
RANKS = {"first": 0, "second": 1, "third": 2, "last": -1}
Seen = dict[str, dict[int, tuple[float, float]]]  # figure → frame, from 1 → its middle, px


def sample(key: object, **fields: Any) -> Problem:
    given = {"width": 112, "height": 112, "wording": "plain", **fields}
    return Appearance(**given).sample(Random(str(key)))


@pytest.fixture(scope="module")
def pool() -> list[Problem]:
    """Problems of all difficulties without their pictures, which take most of the time to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Room, "paint", lambda *_: iter(()))
        many = ((0.0, 400), (0.5, 100), (1.0, 300))
        return [sample(n, difficulty=d) for d, count in many for n in range(count)]


@pytest.fixture(scope="module")
def easy() -> list[Problem]:
    """With pictures, in which every figure has a colour of its own."""
    return [sample(f"easy/{n}", difficulty=0.0) for n in range(60)]


@cache
def facts_of(geometry: str) -> dict[str, Any]:
    return dict(json.loads(geometry))


def facts(problem: Problem) -> dict[str, Any]:
    assert problem.scene
    return facts_of(problem.scene.geometry)


def ask(problem: Problem) -> str:
    return str(facts(problem)["ask"])


def right(problem: Problem) -> str:
    if problem.kind is Kind.NUMBER:
        return problem.answer
    return problem.options["ABCD".index(problem.answer)]


def gold_ops(problem: Problem) -> list[Op]:
    return [op for step in problem.gold for op in step.ops]


def told(problem: Problem) -> Seen:
    """Where figures are, by the scene's own numbers."""
    return {
        f"{colour} {form}": {
            first + n + 1: (x, y) for first, spots in visits for n, (x, y) in enumerate(spots)
        }
        for colour, form, _, visits in facts(problem)["figures"]
    }


def looked(problem: Problem) -> Seen:
    """Where figures are, by their colours in the pictures."""
    seen: Seen = {f"{row[0]} {row[1]}": {} for row in facts(problem)["figures"]}
    assert len({name.split()[0] for name in seen}) == len(seen)
    for k, image in enumerate(problem.images, start=1):
        pixels = decode(image).astype(int)
        for name, frames in seen.items():
            same = np.abs(pixels - COLOURS[name.split()[0]]).max(axis=2) <= 3
            if np.count_nonzero(same) > 20:
                ys, xs = np.nonzero(same)
                frames[k] = float(xs.mean()), float(ys.mean())
    return seen


def doors(problem: Problem) -> list[tuple[float, float]]:
    return [((x1 + x2) / 2, (y1 + y2) / 2) for (x1, y1), (x2, y2) in facts(problem)["doors"]]


def place(problem: Problem, spot: tuple[float, float], size: tuple[int, int]) -> str:
    """What a figure was last seen at."""
    x, y = spot
    world = facts(problem)["world"]
    if world == "doors":
        away = [math.dist(spot, door) for door in doors(problem)]
        return f"door {1 + away.index(min(away))}"
    if world == "edges":
        near = {"left": x, "right": size[0] - x, "top": y, "bottom": size[1] - y}
        return min(near, key=lambda edge: near[edge])
    return f"{'top' if y < size[1] / 2 else 'bottom'} {'left' if x < size[0] / 2 else 'right'}"


def recomputed(problem: Problem, seen: Seen, size: tuple[int, int] = (112, 112)) -> str:
    text, name = problem.question, ask(problem)
    first = {thing: min(frames) for thing, frames in seen.items()}
    last = {thing: max(frames) for thing, frames in seen.items()}
    if name == "back":
        gaps = (max(f) - min(f) + 1 - len(f) for f in seen.values())
        return str(sum(gap > 0 for gap in gaps))
    if name in ("came", "went"):
        rank = RANKS[re.findall(r"the (first|second|third|last) to", text)[0]]
        if name == "came":
            return sorted(first, key=lambda thing: first[thing])[rank]
        gone = [thing for thing in last if last[thing] < 16]
        return sorted(gone, key=lambda thing: last[thing])[rank]
    (thing,) = [thing for thing in seen if thing in text]
    if name == "exit":
        assert last[thing] < 16
        return place(problem, seen[thing][last[thing]], size)
    if name == "before":
        return str(sum(frame < first[thing] for frame in first.values()))
    return str({"first frame": first, "last frame": last}[name][thing])


def test_the_answer_is_seen_in_the_pixels_where_the_scene_tells(easy: list[Problem]) -> None:
    for problem in easy:
        seen, true = looked(problem), told(problem)
        assert right(problem) == recomputed(problem, seen), problem.question
        for name, frames in true.items():
            assert set(seen[name]) == set(frames)
            assert all(math.dist(seen[name][k], frames[k]) < 4 for k in frames)


def test_the_answer_follows_from_the_geometry(pool: list[Problem]) -> None:
    for problem in pool:
        assert right(problem) == recomputed(problem, told(problem)), problem.question


def test_no_two_come_or_go_at_once_where_it_matters(pool: list[Problem]) -> None:
    for problem in pool:
        seen = told(problem).values()
        firsts = sorted(min(frames) for frames in seen)
        gap = 2 if problem.difficulty < 0.5 else 1
        assert all(b - a >= gap for a, b in pairwise(firsts))
        lasts = [max(frames) for frames in seen if max(frames) < 16]
        assert len(set(lasts)) == len(lasts) >= 3


def test_figures_touch_neither_each_other_nor_doors_and_show_themselves(
    pool: list[Problem],
) -> None:
    for problem in pool:
        rows, world = facts(problem)["figures"], facts(problem)["world"]
        seen, radii = told(problem), {f"{r[0]} {r[1]}": r[2] for r in rows}
        assert len(seen) == len(rows)
        for (one, a), (two, b) in combinations(seen.items(), 2):
            assert all(math.dist(a[k], b[k]) > radii[one] + radii[two] for k in a.keys() & b.keys())
        for name, frames in seen.items():
            edge = radii[name] * (0.55 if world == "edges" else 1)
            for x, y in frames.values():
                assert edge <= x <= 112 - edge
                assert edge <= y <= 112 - edge
                for (x1, y1), (x2, y2) in facts(problem)["doors"]:
                    near = max(x1, min(x, x2)), max(y1, min(y, y2))
                    assert math.dist((x, y), near) > radii[name]


def test_where_one_was_last_seen_is_no_close_call(pool: list[Problem]) -> None:
    for problem in pool:
        if ask(problem) != "exit":
            continue
        colour, form, radius, visits = facts(problem)["figures"][facts(problem)["subject"]]
        x, y = spot = visits[-1][1][-1]
        if facts(problem)["world"] == "doors":
            away = sorted(math.dist(spot, door) for door in doors(problem))
            assert away[1] > 1.2 * away[0]
        elif facts(problem)["world"] == "edges":
            near = sorted((x, 112 - x, y, 112 - y))
            assert near[0] < radius < 1.5 * radius < near[1]
        else:
            assert min(abs(x - 56), abs(y - 56)) > radius, (colour, form)


def test_letters_and_answers_are_balanced(pool: list[Problem]) -> None:
    def of(difficulty: float, *asks: str) -> list[Problem]:
        return [p for p in pool if p.difficulty == difficulty and ask(p) in asks]

    def rank(problem: Problem) -> str:
        return re.findall(r"the (first|second|third|last) to", problem.question)[0]

    every = [p for p in pool if ask(p) == "exit"]
    tallies: list[tuple[Any, list[str]]] = [
        ("ABCD", [p.answer for p in pool if p.kind is Kind.CHOICE]),
        ([str(n) for n in range(1, 13)], [p.answer for p in pool if ask(p) == "first frame"]),
        ([str(n) for n in range(4, 16)], [p.answer for p in pool if ask(p) == "last frame"]),
        ("0123", [right(p) for p in of(0, "before")]),
        ("0123456", [right(p) for p in of(1, "before")]),
        ("012", [right(p) for p in of(0, "back")]),
        ("0123", [right(p) for p in of(1, "back")]),
        (("first", "second", "third", "last"), [rank(p) for p in pool if ask(p) == "came"]),
        (("first", "second", "last"), [rank(p) for p in pool if ask(p) == "went"]),
        *(
            (sorted(p.options), [right(q) for q in every if set(q.options) == set(p.options)])
            for p in (next(p for p in every if facts(p)["world"] == w) for w in WORLDS)
        ),
    ]
    for values, seen in tallies:
        share, tally = 1 / len(values), Counter(seen)
        assert len(seen) > 25
        assert set(tally) <= set(values)
        sigma = math.sqrt(len(seen) * share * (1 - share))
        assert all(abs(tally[value] - len(seen) * share) < 4 * sigma for value in values), tally


def test_every_question_comes_in_every_world(pool: list[Problem]) -> None:
    seen = Counter((ask(p), p.kind, facts(p)["world"]) for p in pool)
    assert len(seen) == 8 * 3
    assert min(seen.values()) > len(pool) / 60


def test_no_single_frame_shows_all_figures_when_it_is_hard(pool: list[Problem]) -> None:
    hard = [p for p in pool if p.difficulty == 1]
    for problem in hard:
        there = Counter(k for frames in told(problem).values() for k in frames)
        assert max(there.values()) < len(told(problem))


def test_difficulty_turns_number_likeness_and_returns(pool: list[Problem]) -> None:
    def mean(difficulty: float, measure: Any) -> float:
        some = [p for p in pool if p.difficulty == difficulty and ask(p) != "back"]
        return float(np.mean([measure(p) for p in some]))

    def returning(problem: Problem) -> int:
        return sum(len(row[3]) > 1 for row in facts(problem)["figures"])

    def colours(problem: Problem) -> float:
        rows = facts(problem)["figures"]
        return len({row[0] for row in rows}) / len(rows)

    assert mean(0, lambda p: len(told(p))) < 5 < 7 < mean(1, lambda p: len(told(p)))
    assert mean(0, returning) == 0
    assert mean(1, returning) > 1
    assert mean(0, colours) == 1
    assert mean(1, colours) < 0.6


def test_hard_questions_about_the_last_time_have_earlier_ones(pool: list[Problem]) -> None:
    """Who returns went by another way before, so the first going misleads."""
    misled = 0
    for problem in pool:
        if ask(problem) == "exit" and problem.difficulty == 1:
            visits = facts(problem)["figures"][facts(problem)["subject"]][3]
            if len(visits) > 1:
                before = place(problem, visits[0][1][-1], (112, 112))
                misled += before != right(problem)
    assert misled >= 3


def test_gold_is_exact_distinct_and_known_to_the_scene(pool: list[Problem]) -> None:
    for problem in pool:
        assert problem.scene
        ops = gold_ops(problem)
        assert 1 <= len(problem.gold) <= 2
        assert all(step.thought and 1 <= len(step.ops) <= 9 for step in problem.gold)
        assert len(set(ops)) == len(ops)
        assert set(ops) <= set(problem.scene.objects)
        for op in problem.scene.objects:
            (x1, y1), (x2, y2) = op.p
            assert isinstance(op, Box)
            assert 0 <= x1 < x2 <= 112
            assert 0 <= y1 < y2 <= 112
            if not op.label.startswith("door"):
                assert op.k in told(problem)[op.label]


def test_gold_marks_the_frames_that_decide(pool: list[Problem]) -> None:
    for problem in pool:
        name, seen = ask(problem), told(problem)
        marked = {(op.label, op.k) for op in gold_ops(problem)}
        first = {(thing, min(frames)) for thing, frames in seen.items()}
        gone = {(thing, max(f)) for thing, f in seen.items() if max(f) < 16}
        if name in ("came", "went"):
            assert marked == (first if name == "came" else gone)
        elif name in ("exit", "last frame"):
            assert len(marked & gone) == 1
        elif name == "before":
            assert marked <= first
            assert len(marked) == int(right(problem)) + 1
        elif name == "back":
            assert first <= marked
            assert len(marked - first) == int(right(problem))
        else:
            assert marked <= first


def test_boxes_lie_tightly_on_the_figures_pixels(easy: list[Problem]) -> None:
    checked = 0
    for problem in easy:
        for op in gold_ops(problem):
            if op.label.startswith("door"):
                continue
            # Backgrounds are light in every channel, figures in none, and no two touch.
            dark = decode(problem.images[op.k - 1]).min(axis=2) < 190
            (x1, y1), (x2, y2) = op.p
            ys, xs = np.nonzero(dark[max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1])
            found = xs.min() + max(0, x1 - 1), ys.min() + max(0, y1 - 1)
            found += xs.max() + 1 + max(0, x1 - 1), ys.max() + 1 + max(0, y1 - 1)
            assert all(abs(a - b) <= 2 for a, b in zip(found, (x1, y1, x2, y2), strict=True))
            checked += 1
    assert checked > 100


def test_options_are_unique_and_only_choices_have_them(pool: list[Problem]) -> None:
    for problem in pool:
        assert len(set(problem.options)) == (4 if problem.kind is Kind.CHOICE else 0)
        if ask(problem) in ("came", "went"):
            assert set(problem.options) <= set(told(problem))


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("size", [(112, 112), (224, 112), (112, 448), (1000, 112), (640, 448)])
def test_sizes_and_difficulties_work(size: tuple[int, int], difficulty: float) -> None:
    for n in range(3):
        problem = sample(f"size/{n}", width=size[0], height=size[1], difficulty=difficulty)
        assert problem.task == "appearance"
        assert problem.modality is Modality.VIDEO
        assert [image.size for image in problem.images] == [size] * 16
        assert right(problem) == recomputed(problem, told(problem), size)


def test_wordings_vary_and_leave_no_gap(pool: list[Problem]) -> None:
    asked = (phrases.CAME, phrases.WENT, phrases.FIRST_FRAME, phrases.LAST_FRAME, phrases.BEFORE)
    for questions in (*asked, phrases.BACK, *phrases.EXIT.values()):
        assert len(set(questions)) >= 5
    varied = [sample(f"words/{n}", wording="varied", difficulty=1.0) for n in range(30)]
    assert len({p.question[:12] for p in varied}) >= 8
    for problem in [*pool, *varied]:
        for text in (problem.question, problem.conclusion, *(s.thought for s in problem.gold)):
            assert not any(bad in text for bad in ("{", "  ", "None", "()"))
