"""Motion: answers recomputed from the scene's own numbers, gold against pixels, balance, bounds."""

import json
import re
from collections import Counter
from functools import cache
from itertools import pairwise
from math import dist
from random import Random
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.images import decode
from pipeline.tasks.motion import Motion
from pipeline.types import Box, Kind, Line, Modality, Op, Problem

Place = tuple[float, float]


def sample(key: object, **fields: Any) -> Problem:
    return Motion(**{"width": 112, "height": 112, **fields}).sample(Random(str(key)))


@pytest.fixture(scope="module")
def pool() -> list[Problem]:
    """Problems of all difficulties without their pictures, which take most of the time to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Motion, "_paint", lambda *_: iter(()))
        many = ((0.0, 220), (0.5, 25), (1.0, 70))
        return [sample(n, difficulty=d) for d, count in many for n in range(count)]


@cache
def facts_of(geometry: str) -> dict[str, Any]:
    return dict(json.loads(geometry))


def geometry(problem: Problem) -> dict[str, Any]:
    assert problem.scene
    return facts_of(problem.scene.geometry)


def ask(problem: Problem) -> str:
    return str(geometry(problem)["ask"])


def routes(problem: Problem) -> dict[str, list[Place]]:
    return {
        f"{row[0]} {row[1]}": [(x, y) for x, y in row[3]] for row in geometry(problem)["figures"]
    }


def net(route: list[Place]) -> float:
    return dist(route[0], route[-1])


def path(route: list[Place]) -> float:
    return sum(dist(a, b) for a, b in pairwise(route))


def depths(problem: Problem, name: str) -> list[float]:
    """px from the line, frame by frame; above 0 on the side where the figure starts."""
    a, b = geometry(problem)["line"]
    sides = [
        ((b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])) / dist(a, b)
        for x, y in routes(problem)[name]
    ]
    return [side if sides[0] > 0 else -side for side in sides]


def counted(problem: Problem) -> set[str]:
    """The figures that a question about the line counts."""
    pick = min if ask(problem) == "crossed" else (lambda depths: depths[-1])
    return {name for name in routes(problem) if pick(depths(problem, name)) < 0}


def gold_ops(problem: Problem) -> list[Op]:
    return [op for step in problem.gold for op in step.ops]


def right(problem: Problem) -> str:
    if problem.kind is Kind.NUMBER:
        return problem.answer
    return problem.options["ABCDEFGH".index(problem.answer)]


def test_the_answer_follows_from_the_geometry(pool: list[Problem]) -> None:
    for problem in pool:
        if ask(problem) in ("ended", "crossed"):
            assert int(right(problem)) == len(counted(problem))
            continue
        measure = {"net": net, "path": path}[ask(problem)]
        far = {name: measure(route) for name, route in routes(problem).items()}
        if problem.kind is Kind.CHOICE:
            assert right(problem) == max(far, key=lambda name: far[name])
            continue
        named = [far[name] for name in far if name in problem.question]
        assert len(named) == 2
        assert f"{round(max(named) / min(named), 1):g}" == problem.answer


def test_how_many_times_is_asked_of_the_figure_that_moved_farther() -> None:
    asked = 0
    for n in range(25):
        problem = sample(n, wording="plain", difficulty=0.0)
        found = re.search(r"as far as the (\w+ \w+) did the (\w+ \w+) move", problem.question)
        if found:
            measure = {"net": net, "path": path}[ask(problem)]
            base, thing = (measure(routes(problem)[name]) for name in found.groups())
            assert round(thing / base, 1) == float(problem.answer) > 1
            asked += 1
    assert asked > 2


def test_the_winner_leads_clearly_and_not_by_both_measures_when_hard(pool: list[Problem]) -> None:
    for problem in pool:
        if ask(problem) not in ("net", "path") or problem.kind is Kind.NUMBER:
            continue
        measure, other = (net, path) if ask(problem) == "net" else (path, net)
        first, second = sorted(map(measure, routes(problem).values()), reverse=True)[:2]
        assert first / second >= (1.25 if problem.difficulty == 0 else 1.1)
        if problem.difficulty == 1 and ask(problem) == "path":
            by_net = max(routes(problem), key=lambda name: other(routes(problem)[name]))
            assert by_net != right(problem)


def test_no_figure_leaves_it_open_on_which_side_of_the_line_it_is(pool: list[Problem]) -> None:
    for problem in pool:
        if geometry(problem)["line"] is None:
            continue
        for colour, form, radius, _ in geometry(problem)["figures"]:
            away = depths(problem, f"{colour} {form}")
            assert away[0] > radius
            assert abs(away[-1]) > radius
            assert min(away) > radius or min(away) < -radius


def test_hard_pictures_have_figures_that_return_over_the_line(pool: list[Problem]) -> None:
    crossing = [problem for problem in pool if geometry(problem)["line"]]
    ways = [(p.difficulty, depths(p, name)) for p in crossing for name in routes(p)]
    assert sum(away[-1] > 0 > min(away) for difficulty, away in ways if difficulty == 1) > 10
    assert not any(away[-1] > 0 > min(away) for difficulty, away in ways if difficulty == 0)


def test_figures_have_names_of_their_own_and_stay_inside(pool: list[Problem]) -> None:
    for problem in pool:
        rows = geometry(problem)["figures"]
        assert 2 <= len(rows) <= 8
        assert len({(row[0], row[1]) for row in rows}) == len(rows)
        for _, _, radius, route in rows:
            assert radius >= 5
            assert len(route) == 16
            assert all(radius < x < 112 - radius and radius < y < 112 - radius for x, y in route)


def test_letters_and_counts_are_balanced(pool: list[Problem]) -> None:
    easy = [problem for problem in pool if problem.difficulty == 0]
    letters = [problem.answer for problem in easy if problem.kind is Kind.CHOICE]
    counts = [right(problem) for problem in easy if geometry(problem)["line"]]
    for values, seen in (("ABCD", letters), ("012", counts)):
        share = 1 / len(values)
        sigma = (len(seen) * share * (1 - share)) ** 0.5
        tally = Counter(seen)
        assert set(tally) == set(values)
        assert all(abs(n - len(seen) * share) < 4 * sigma for n in tally.values())
    hard = {right(p) for p in pool if p.difficulty == 1 and geometry(p)["line"]}
    assert hard == set("0123456")


def test_every_question_family_comes_in_both_kinds(pool: list[Problem]) -> None:
    seen = Counter((ask(problem), problem.kind) for problem in pool)
    assert len(seen) == 8
    assert min(seen.values()) > len(pool) / 16


def test_options_are_unique_and_only_choices_have_them(pool: list[Problem]) -> None:
    for problem in pool:
        assert len(set(problem.options)) == (4 if problem.kind is Kind.CHOICE else 0)


def test_gold_is_exact_distinct_and_known_to_the_scene(pool: list[Problem]) -> None:
    for problem in pool:
        assert problem.scene
        assert problem.conclusion
        ops = gold_ops(problem)
        assert 1 <= len(problem.gold) <= 2
        assert all(len(step.ops) <= 12 for step in problem.gold)
        assert len(set(ops)) == len(ops)
        assert set(ops) <= set(problem.scene.objects)
        boxes = [op for op in ops if isinstance(op, Box)]
        lines = [op for op in ops if isinstance(op, Line)]
        assert not {op.label for op in boxes} & {op.label for op in lines}
        for op in problem.scene.objects:
            (x1, y1), (x2, y2) = op.p
            assert 1 <= op.k <= 16
            assert min(x1, x2, y1, y2) >= 0
            assert max(x1, x2, y1, y2) <= 112
            assert (x1 < x2 and y1 < y2) if isinstance(op, Box) else op.p[0] != op.p[1]


def test_gold_marks_what_decides_the_answer(pool: list[Problem]) -> None:
    for problem in pool:
        boxed = {op.label for op in gold_ops(problem) if isinstance(op, Box)}
        if geometry(problem)["line"]:
            assert boxed == counted(problem)
        elif problem.kind is Kind.CHOICE:
            assert boxed == set(problem.options)
        for op in gold_ops(problem):
            if isinstance(op, Line) and op.label != "dashed line":
                route = routes(problem)[op.label.removesuffix(" path")]
                assert dist(op.p[1], route[op.k - 1]) < 1
                assert min(dist(op.p[0], spot) for spot in route[: op.k - 1]) < 1


def test_lines_of_a_path_add_up_to_its_length(pool: list[Problem]) -> None:
    for problem in pool:
        lines = [op for op in gold_ops(problem) if isinstance(op, Line) and " path" in op.label]
        for label in {op.label for op in lines}:
            drawn = sum(dist(*op.p) for op in lines if op.label == label)
            measure = {"net": net, "path": path}[ask(problem)]
            true = measure(routes(problem)[label.removesuffix(" path")])
            assert abs(drawn - true) < 0.06 * true + 3


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("size", [(112, 112), (224, 112), (1000, 700)])
def test_sizes_and_difficulties_work(size: tuple[int, int], difficulty: float) -> None:
    problem = sample("size", width=size[0], height=size[1], difficulty=difficulty)
    assert problem.task == "motion"
    assert problem.modality is Modality.VIDEO
    assert problem.id == ""
    assert [decode(image).shape for image in problem.images] == [(size[1], size[0], 3)] * 16
    assert len({image.sha256 for image in problem.images}) > 10


def test_gold_boxes_lie_tightly_on_the_figures_pixels() -> None:
    checked = 0
    for n in range(8):
        problem = sample(n, width=280, height=280, difficulty=n / 7)
        for op in gold_ops(problem):
            if not isinstance(op, Box):
                continue
            # Backgrounds are light in every channel, figures in none, and no two touch here.
            dark = (decode(problem.images[op.k - 1]).min(axis=2) < 200).astype(np.uint8)
            _, blobs, stats, _ = cv2.connectedComponentsWithStats(dark)
            (x1, y1), (x2, y2) = op.p
            left, top, width, height, _ = stats[blobs[(y1 + y2) // 2, (x1 + x2) // 2]]
            found = (left, top, left + width, top + height)
            assert all(abs(a - b) <= 2 for a, b in zip(found, (x1, y1, x2, y2), strict=True))
            checked += 1
    assert checked > 30


def test_the_same_key_gives_the_same_bytes_and_another_key_another_scene() -> None:
    first, again, other = (sample(key, difficulty=0.7) for key in ("a", "a", "b"))
    assert first == again
    assert [image.png for image in first.images] == [image.png for image in again.images]
    assert geometry(first) != geometry(other)


def phrasings(problems: list[Problem]) -> dict[tuple[str, Kind], set[str]]:
    found: dict[tuple[str, Kind], set[str]] = {}
    for problem in problems:
        question = re.sub("|".join(routes(problem)), "it", problem.question)
        found.setdefault((ask(problem), problem.kind), set()).add(question)
    return found


def test_plain_wording_has_one_phrasing_and_varied_wording_at_least_five(
    pool: list[Problem],
) -> None:
    plain = [sample(n, difficulty=0.0, wording="plain") for n in range(25)]
    assert all(len(questions) == 1 for questions in phrasings(plain).values())
    assert all(len(questions) >= 5 for questions in phrasings(pool).values())
