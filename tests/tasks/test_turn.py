"""Turn: every answer found again from the words of the question and where things stand, the turns
from what the boxes show; balance, margins, and that all that is asked about can be seen."""

import json
import math
import re
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline import canvas
from pipeline.images import decode
from pipeline.tasks import stage, turn_phrases
from pipeline.tasks.shapes import COLOURS
from pipeline.tasks.turn import Turn
from pipeline.types import Box, Kind, Line, Modality, Problem

ASKS = {Kind.CHOICE: ("turned", "face", "where"), Kind.NUMBER: ("degrees", "passed", "side")}
QUARTERS = ("ahead of you on the right", "behind you on the right")
QUARTERS += ("behind you on the left", "ahead of you on the left")  # turning right, 90° each
HALVES = {"on your left": -90, "on your right": 90, "behind you": 180}


def sample(key: object, **fields: Any) -> Problem:
    given = {"width": 112, "height": 112, "wording": "plain", **fields}
    return Turn(**given).sample(Random(str(key)))


@pytest.fixture(scope="module")
def pool() -> list[Problem]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "SMOOTH_BELOW", 0)  # one sample a pixel: faster, and tested as well
        many = ((0.0, 300), (0.5, 60), (1.0, 150))
        return [sample(n, difficulty=d) for d, count in many for n in range(count)]


def facts(problem: Problem) -> dict[str, Any]:
    assert problem.scene
    return dict(json.loads(problem.scene.geometry))


def ask(problem: Problem) -> str:
    return str(facts(problem)["ask"])


def given(problem: Problem) -> str:
    if problem.kind is Kind.NUMBER:
        return problem.answer
    return problem.options["ABCD".index(problem.answer)]


def spots(problem: Problem) -> dict[str, complex]:
    return {f"{s[1]} {s[0]}": complex(s[3], s[4]) for s in facts(problem)["solids"]}


def looking(problem: Problem, view: int) -> complex:
    eye, target = facts(problem)["cameras"][view][:2]
    return complex(target[0] - eye[0], target[1] - eye[1])


def rightward(ahead: complex, to: complex) -> float:
    """Degrees from one direction to another, above 0 to the right, by dot and cross product."""
    dot = ahead.real * to.real + ahead.imag * to.imag
    return math.degrees(math.atan2(ahead.imag * to.real - ahead.real * to.imag, dot))


def standing(problem: Problem) -> dict[str, float]:
    """The bearings of all solids but those one stands at and faces, from the question's words."""
    text, there = problem.question, spots(problem)
    if found := re.search(r"You stand at the (\w+ \w+) and face the (\w+ \w+)\.", text):
        start, ahead = there.pop(found[1]), there.pop(found[2])
        return {name: rightward(ahead - start, spot - start) for name, spot in there.items()}
    if found := re.search(r"You stand there and face the (\w+ \w+)\.", text):
        ahead = there.pop(found[1])
    else:
        found = re.search(r"look straight ahead as in picture (\d)", text)
        assert found
        ahead = looking(problem, int(found[1]) - 1)
    return {name: rightward(ahead, spot) for name, spot in there.items()}


def apart(a: float, b: float) -> float:
    return abs((a - b + 180) % 360 - 180)


def turning(problem: Problem) -> float:
    """Degrees to the right from one picture to another, all those between taken in order."""
    i, j = map(int, re.findall(r"picture (\d)", problem.question)[-2:])
    views = range(len(problem.images))
    heads = sorted(views, key=lambda v: rightward(looking(problem, i - 1), looking(problem, v)))
    steps = [rightward(looking(problem, a), looking(problem, b)) for a, b in pairwise(heads)]
    return sum(steps) if heads[0] == i - 1 and heads[-1] == j - 1 else -sum(steps)


def recomputed(problem: Problem) -> str:
    text, name = problem.question, ask(problem)
    if name in ("turned", "degrees"):
        amount = turning(problem)
        side = "right" if amount > 0 else "left"
        assert name == "turned" or f"turn to the {side} from" in text
        return f"{abs(amount):.0f}" + (f"° to the {side}" if name == "turned" else "")
    bearings = standing(problem)
    if name == "face":
        found = re.search(r"you turn (\d+)° to the (left|right)", text)
        assert found
        turn = int(found[1]) * (1 if found[2] == "right" else -1)
        return min(bearings, key=lambda thing: apart(bearings[thing], turn))
    if name == "where":
        found = re.search(r"Where is the (\w+ \w+)\?", text)
        assert found
        bearing = bearings[found[1]]
        if set(problem.options) == set(QUARTERS):
            return QUARTERS[int(bearing % 360 // 90)]
        whole = {"to your left": -90, "to your right": 90, "behind you": 180}
        return min(whole, key=lambda where: apart(whole[where], bearing))
    if name == "side":
        (middle,) = [angle for words, angle in HALVES.items() if words in text]
        return str(sum(apart(b, middle) < 90 for b in bearings.values()))
    found = re.search(r"turn to the (left|right) until you face the (\w+ \w+)\.", text)
    assert found
    way = 1 if found[1] == "right" else -1
    round_to = {thing: way * bearing % 360 for thing, bearing in bearings.items()}
    return str(sum(b < round_to[found[2]] for b in round_to.values()))


def test_the_answer_follows_from_the_words_and_where_things_stand(pool: list[Problem]) -> None:
    for problem in pool:
        assert given(problem) == recomputed(problem), problem.question


def test_directions_keep_clear_of_the_borders_between_answers(pool: list[Problem]) -> None:
    for problem in pool:
        name, fine = ask(problem), set(problem.options) == set(QUARTERS)
        if name in ("turned", "degrees", "passed"):
            continue
        bearings = standing(problem)
        if name == "face":
            turn = facts(problem)["turn"]
            off = sorted(apart(bearing, turn) for bearing in bearings.values())
            assert off[0] <= 10
            assert off[1] >= 20
        elif name == "where":
            thing = re.findall(r"Where is the (\w+ \w+)\?", problem.question)[0]
            borders = (0, 90, 180, -90) if fine else (45, 135, -45, -135)
            assert min(apart(bearings[thing], border) for border in borders) >= 16
        else:
            (middle,) = [angle for words, angle in HALVES.items() if words in problem.question]
            assert min(abs(apart(b, middle) - 90) for b in bearings.values()) >= 12


def test_what_neighbouring_pictures_share_tells_the_turn(pool: list[Problem]) -> None:
    """By the columns of gold's boxes, and no more than the question says of the lens."""
    checked = 0
    for problem in pool:
        if ask(problem) not in ("turned", "degrees"):
            continue
        wide = re.search(r"Each is (\d+)° wide", problem.question)
        assert wide
        focal = 56 / math.tan(math.radians(int(wide[1]) / 2))
        boxes = [op for step in problem.gold[1:] for op in step.ops if isinstance(op, Box)]
        named = re.findall(r"the (\w+ \w+) in pictures (\d) and (\d)", problem.gold[1].thought)
        total = 0.0
        for thing, *ks in named:
            angles = []
            for k in map(int, ks):
                (box,) = [b for b in boxes if (b.label, b.k) == (thing, k)]
                middle = (box.p[0].x + box.p[1].x) / 2
                angles.append(math.degrees(math.atan((middle - 56) / focal)))
            total += angles[0] - angles[1]
        assert abs(total - turning(problem)) < 3.5 * len(named) + 1
        checked += 1
    assert checked > 60


def test_all_that_is_asked_about_is_seen_whole_in_some_picture(pool: list[Problem]) -> None:
    """Every solid: its box keeps off the edges somewhere, and shows its colour in its middle."""
    for problem in pool[::5]:
        assert problem.scene
        for name in spots(problem):
            best = 0.0
            for op in problem.scene.objects:
                assert isinstance(op, Box)
                (x1, y1), (x2, y2) = op.p
                if op.label != name or x1 <= 0 or x2 >= 112 or y1 <= 0 or y2 >= 112:
                    continue
                patch = decode(problem.images[op.k - 1])[y1:y2, x1:x2].astype(float) + 1
                paint = np.array(COLOURS[name.split()[0]], float) + 1
                tint = patch / patch.sum(axis=2, keepdims=True) - paint / paint.sum()
                best = max(best, float((np.abs(tint).max(axis=2) < 0.06).mean()))
            assert best > 0.25, (name, problem.question)


def test_boxes_lie_tightly_on_the_colour_of_their_solid() -> None:
    checked = 0
    for n in range(20):
        problem = sample(f"tight/{n}", width=224, height=168, difficulty=0.0)
        solids = facts(problem)["solids"]
        assert problem.scene
        for op in problem.scene.objects:
            colour = op.label.split()[0]
            if [s[1] for s in solids].count(colour) > 1:
                continue
            hsv = cv2.cvtColor(decode(problem.images[op.k - 1]), cv2.COLOR_RGB2HSV).astype(int)
            paint = np.array([[COLOURS[colour]]], np.uint8)
            hue = int(cv2.cvtColor(paint, cv2.COLOR_RGB2HSV)[0, 0, 0])
            off = np.abs((hsv[:, :, 0] - hue + 90) % 180 - 90)
            (x1, y1), (x2, y2) = op.p
            ys, xs = np.nonzero((off <= 4) & (hsv[:, :, 1] > 80))
            near = (xs > x1 - 7) & (xs < x2 + 6) & (ys > y1 - 7) & (ys < y2 + 6)
            if x2 - x1 < 6:  # a sliver at the edge
                continue
            found = xs[near].min(), ys[near].min(), xs[near].max() + 1, ys[near].max() + 1
            assert np.abs(np.subtract(found, (x1, y1, x2, y2))).max() <= 2, (colour, op)
            checked += 1
    assert checked > 60


def test_every_question_comes_in_its_kind_from_within_and_from_outside(pool: list[Problem]) -> None:
    seen = Counter((ask(p), p.kind) for p in pool)
    assert set(seen) == {(name, kind) for kind, names in ASKS.items() for name in names}
    assert min(seen.values()) > len(pool) / 12
    outside = Counter(ask(p) for p in pool if facts(p).get("start") is not None)
    assert set(outside) == {"face", "where", "side"}
    assert all(0.3 < outside[name] / sum(ask(p) == name for p in pool) < 0.7 for name in outside)


def test_answers_are_balanced(pool: list[Problem]) -> None:
    """Letters, and each question's own answers where none of them depends on the scene."""
    easy = [p for p in pool if p.difficulty == 0]
    hard = [p for p in pool if p.difficulty == 1]
    tallies = [
        ("ABCD", [p.answer for p in easy if p.kind is Kind.CHOICE and len(p.options) == 4]),
        (
            ("to your left", "to your right", "behind you"),
            [given(p) for p in easy if ask(p) == "where"],
        ),
        (QUARTERS, [given(p) for p in hard if ask(p) == "where"]),
        (("20", "30", "40", "50"), [p.answer for p in easy if ask(p) == "degrees"]),
        (("0", "1", "2"), [p.answer for p in easy if ask(p) == "passed"]),
        (("0", "1", "2"), [p.answer for p in easy if ask(p) == "side"]),
        (("0", "1", "2", "3", "4"), [p.answer for p in hard if ask(p) in ("side", "passed")]),
    ]
    for values, seen in tallies:
        share, tally = 1 / len(values), Counter(seen)
        assert set(tally) <= set(values)
        sigma = math.sqrt(len(seen) * share * (1 - share))
        assert all(abs(tally[value] - len(seen) * share) < 4 * sigma for value in values)


def test_neither_of_two_angles_offered_is_the_likelier_one(pool: list[Problem]) -> None:
    """The same two angles, both ways, are offered whichever of them is right."""
    larger = []
    for problem in pool:
        if problem.difficulty == 0 and ask(problem) == "turned":
            offered = sorted({int(option.split("°")[0]) for option in problem.options})
            assert len(offered) == 2
            assert offered[1] - offered[0] >= 20
            larger.append(int(given(problem).split("°")[0]) == offered[1])
    assert abs(sum(larger) - len(larger) / 2) < 2 * math.sqrt(len(larger))


def test_difficulty_turns_pictures_likeness_and_what_is_told(pool: list[Problem]) -> None:
    def share(difficulty: float, holds: Any) -> float:
        some = [p for p in pool if p.difficulty == difficulty]
        return sum(map(holds, some)) / len(some)

    def alike(problem: Problem) -> bool:
        return len({s[1] for s in facts(problem)["solids"]}) < len(facts(problem)["solids"])

    def told(problem: Problem) -> bool:
        return "Between one picture and the next" in problem.question

    assert share(0, alike) == 0
    assert share(1, alike) > 0.5
    assert share(0, told) > 0.2
    assert share(1, told) == 0
    assert share(1, lambda p: len(p.images)) > share(0, lambda p: len(p.images)) + 0.3


def test_turns_that_are_told_are_those_of_the_cameras(pool: list[Problem]) -> None:
    told = 0
    for problem in pool:
        found = re.search(r"turned to the (left|right), by ([^.]*)\.", problem.question)
        if found:
            sign = 1 if found[1] == "right" else -1
            turns = [sign * int(turn) for turn in re.findall(r"(\d+)°", found[2])]
            views = range(len(problem.images))
            true = [rightward(looking(problem, a), looking(problem, b)) for a, b in pairwise(views)]
            assert np.allclose(turns, true, atol=0.1)
            told += 1
    assert told > 40


def test_gold_is_exact_and_nothing_of_it_is_superseded(pool: list[Problem]) -> None:
    for problem in pool:
        assert problem.scene
        ops = [op for step in problem.gold for op in step.ops]
        assert 1 <= len(problem.gold) <= 3
        assert len(ops) <= 14
        assert len(set(ops)) == len(ops)
        for op in ops:
            assert op in problem.scene.objects or isinstance(op, Line)
            assert all(0 <= x <= 112 and 0 <= y <= 112 for x, y in op.p)
        state = canvas.opened(problem)
        for step in problem.gold:
            state = canvas.execute(state, step)
        assert state.successions == ()


def test_gold_boxes_what_is_counted_or_found(pool: list[Problem]) -> None:
    for problem in pool:
        boxed = {op.label for step in problem.gold for op in step.ops if isinstance(op, Box)}
        if ask(problem) == "face":
            assert given(problem) in boxed
        elif ask(problem) in ("side", "passed"):
            named = set(re.findall("|".join(spots(problem)), problem.question))
            assert len(boxed - named) == int(problem.answer)


def test_options_are_unique_and_only_choices_have_them(pool: list[Problem]) -> None:
    for problem in pool:
        among = 0 if problem.kind is Kind.NUMBER else 3 if "behind you" in problem.options else 4
        assert len(set(problem.options)) == len(problem.options) == among
        if ask(problem) == "face":
            assert set(problem.options) <= set(spots(problem))


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("size", [(112, 112), (224, 112), (112, 448), (1000, 112), (640, 448)])
def test_sizes_and_difficulties_work(size: tuple[int, int], difficulty: float) -> None:
    for n in range(3):
        problem = sample(f"size/{n}", width=size[0], height=size[1], difficulty=difficulty)
        assert (problem.task, problem.modality) == ("turn", Modality.VIEWS)
        assert 2 <= len(problem.images) <= 6
        assert all(image.size == size for image in problem.images)


def test_wordings_vary_and_leave_no_gap(pool: list[Problem]) -> None:
    for name in ("TURNED", "DEGREES", "FACE", "WHERE", "PASSED", "SIDE"):
        assert len(set(getattr(turn_phrases, name))) >= 5
    varied = [sample(f"words/{n}", wording="varied") for n in range(30)]
    assert len({p.question[:12] for p in varied}) >= 6
    for problem in [*pool, *varied]:
        for text in (problem.question, problem.conclusion, *(s.thought for s in problem.gold)):
            assert not any(bad in text for bad in ("{", "  ", "None", "()"))
