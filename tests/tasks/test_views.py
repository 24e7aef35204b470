"""Views: the answers, boxes and clues, checked against the geometry without the task's own code."""

import json
import math
import re
from collections import Counter
from random import Random

import cv2
import numpy as np
import pytest

from pipeline import canvas, geometry
from pipeline.images import decode
from pipeline.tasks import stage, views_phrases
from pipeline.tasks.shapes import COLOURS
from pipeline.tasks.solids import Camera, Solid, cast
from pipeline.tasks.views import Views
from pipeline.types import Box, Kind, Line, Problem, Size, Step

FAMILIES = {  # by the first phrasing of each question
    "same": r"Which tag does the same object have in picture (?P<k>\d)",
    "different": r"How many different objects are tagged",
    "nearest": r"is (?P<end>nearest|farthest) (to|from) the camera of picture (?P<k>\d)",
    "nearer": r"are nearer to the camera of picture (?P<k>\d) than the object tagged 1",
    "holds": r"object 1 (?P<relation>nearer|to the left)",
}
FORM, LOOK = r"(?:sphere|cube|cylinder|cone)", r"(?:small |large )\w+ (?:sphere|cube|cylinder|cone)"


def make(key: str, difficulty: float = 0.5, width: int = 112, height: int = 112) -> Problem:
    task = Views(width=width, height=height, difficulty=difficulty, wording="plain")
    return task.sample(Random(key))


@pytest.fixture(scope="module")
def easy() -> list[Problem]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "SMOOTH_BELOW", 0)  # one sample a pixel: faster, and tested as well
        return [make(f"easy/{n}", 0.1) for n in range(400)]


@pytest.fixture(scope="module")
def hard() -> list[Problem]:
    return [make(f"hard/{n}", 1.0) for n in range(30)]


def family(problem: Problem) -> tuple[str, re.Match[str]]:
    found = [(name, re.search(p, problem.question)) for name, p in FAMILIES.items()]
    ((name, match),) = [(name, match) for name, match in found if match]
    return name, match


def facts(problem: Problem) -> dict:
    return json.loads(problem.scene.geometry)


def distance(scene: dict, view: int, solid: int) -> float:
    _, _, _, x, y, _, _, height = scene["solids"][solid]
    return math.dist(scene["cameras"][view][0], (x, y, height / 2))


def column(scene: dict, view: int, solid: int) -> float:
    """x of a solid's middle in a picture, px: turns the world until the camera looks along x."""
    eye, target, roll, focal, (centre, _) = scene["cameras"][view]
    _, _, _, x, y, _, _, height = scene["solids"][solid]
    ahead = [t - e for t, e in zip(target, eye, strict=True)]
    p = np.array([x, y, height / 2]) - eye
    heading = math.atan2(ahead[1], ahead[0])
    along = p[0] * math.cos(heading) + p[1] * math.sin(heading)
    left = p[1] * math.cos(heading) - p[0] * math.sin(heading)
    dip = math.atan2(-ahead[2], math.hypot(*ahead[:2]))
    depth = along * math.cos(dip) - p[2] * math.sin(dip)
    up = along * math.sin(dip) + p[2] * math.cos(dip)
    return centre + focal * (-left * math.cos(roll) - up * math.sin(roll)) / depth


def recomputed(problem: Problem) -> str:
    scene, (name, match) = facts(problem), family(problem)
    tags = {(view, text): solid for view, solid, text in scene["tags"]}
    views_ = range(len(scene["cameras"]))
    if name == "same":
        seen = {solid: text for view, solid, text in scene["tags"] if view == int(match["k"]) - 1}
        return seen[tags[0, "1"]]
    if name == "different":
        return str(len({tags[view, "X"] for view in views_}))
    if name == "holds":
        measure = distance if match["relation"] == "nearer" else column
        pair = tags[0, "1"], tags[0, "2"]
        return str(sum(measure(scene, v, pair[0]) < measure(scene, v, pair[1]) for v in views_))
    away = [distance(scene, int(match["k"]) - 1, n) for n in range(len(scene["solids"]))]
    if name == "nearest":
        pick = min if match["end"] == "nearest" else max
        return pick(scene["tags"], key=lambda tag: away[tag[1]])[2]
    return str(sum(d < away[scene["tags"][0][1]] for d in away))


def test_the_answer_follows_from_the_geometry(easy: list[Problem], hard: list[Problem]) -> None:
    for problem in easy + hard:
        given = problem.answer
        if problem.kind is Kind.CHOICE:
            given = problem.options["ABCD".index(problem.answer)]
        assert given == recomputed(problem), problem.question


def test_distances_that_matter_differ_clearly(easy: list[Problem], hard: list[Problem]) -> None:
    for problem in easy + hard:
        scene, (name, match) = facts(problem), family(problem)
        if name not in ("nearest", "nearer"):
            continue
        away = [distance(scene, int(match["k"]) - 1, n) for n in range(len(scene["solids"]))]
        if name == "nearest":
            away = [away[solid] for _, solid, _ in scene["tags"]]
            own = min(away) if match["end"] == "nearest" else max(away)
        else:
            own = away[scene["tags"][0][1]]
        away.remove(own)
        assert min(abs(d - own) for d in away) >= 0.75 - 0.3 * problem.difficulty - 1e-9


def test_all_families_and_kinds_appear(easy: list[Problem]) -> None:
    seen = Counter((family(p)[0], p.kind) for p in easy)
    assert set(seen) == {
        ("same", Kind.CHOICE),
        ("nearest", Kind.CHOICE),
        ("nearer", Kind.CHOICE),
        ("nearer", Kind.NUMBER),
        ("different", Kind.NUMBER),
        ("holds", Kind.NUMBER),
    }
    assert min(seen.values()) >= 40


def test_letters_and_values_are_balanced(easy: list[Problem]) -> None:
    answers: dict[tuple[str, Kind, int], Counter[str]] = {}
    for p in easy:
        name, _ = family(p)
        values = {
            "different": len(p.images),
            "holds": len(p.images) + 1,
            "nearer": len(facts(p)["solids"]),
        }
        among = 4 if p.kind is Kind.CHOICE else values[name]
        answers.setdefault((name, p.kind, among), Counter())[p.answer] += 1
    tagged = answers.pop(("same", Kind.CHOICE, 4)) + answers.pop(("nearest", Kind.CHOICE, 4))
    answers["same or nearest", Kind.CHOICE, 4] = tagged
    assert sum(tagged.values()) > 100
    for (_, _, among), counts in answers.items():
        total = sum(counts.values())
        assert len(counts) <= among
        sigma = math.sqrt(total * (among - 1)) / among
        for count in [*counts.values(), *[0] * (among - len(counts))]:
            assert abs(count - total / among) <= 4 * sigma


def test_options_are_unique_and_hold_the_answer(easy: list[Problem]) -> None:
    for problem in easy:
        assert len(set(problem.options)) == len(problem.options)
        if problem.kind is Kind.CHOICE:
            assert problem.answer in "ABCD"[: len(problem.options)]
            if problem.options[0] == "A":
                assert problem.options == ("A", "B", "C", "D")
        else:
            assert problem.options == ()
            assert problem.answer.isdigit()


def test_a_clue_is_true_of_the_tagged_solid_alone(hard: list[Problem]) -> None:
    clue = re.compile(rf"tag \w is on the ({LOOK}) (nearest|farthest) (?:to|from) the (\w+ {FORM})")
    checked = 0
    for problem in hard:
        scene = facts(problem)
        solids = {n: (" ".join((s[2], s[1], s[0])), s[3:5]) for n, s in enumerate(scene["solids"])}
        for step in problem.gold:
            for look, end, landmark in clue.findall(step.thought):
                tagged = next(n for view, n, _ in scene["tags"] if view == step.ops[0].k - 1)
                ((_, place),) = [s for s in solids.values() if s[0].endswith(landmark)]
                away = {n: math.dist(p, place) for n, (name, p) in solids.items() if name == look}
                assert len(away) > 1
                assert tagged == (min if end == "nearest" else max)(away, key=away.__getitem__)
                checked += 1
    assert checked >= 5


def test_boxes_lie_tightly_on_the_colour_of_their_solid() -> None:
    """In pictures without tags, on solids whose colour no other has."""
    checked = 0
    for n in range(16):
        problem = make(f"tight/{n}", 0.2, 224, 224)
        scene = facts(problem)
        for k, image in enumerate(problem.images, start=1):
            if any(view == k - 1 for view, _, _ in scene["tags"]):
                continue
            hsv = cv2.cvtColor(decode(image), cv2.COLOR_RGB2HSV).astype(int)
            for (_, colour, *_), box in zip(
                scene["solids"], [o for o in problem.scene.objects if o.k == k], strict=True
            ):
                if sum(s[1] == colour for s in scene["solids"]) > 1:
                    continue
                paint = np.array([[COLOURS[colour]]], np.uint8)
                hue = int(cv2.cvtColor(paint, cv2.COLOR_RGB2HSV)[0, 0, 0])
                apart = np.abs((hsv[:, :, 0] - hue + 90) % 180 - 90)
                ys, xs = np.nonzero((apart <= 4) & (hsv[:, :, 1] > 80))
                (x1, y1), (x2, y2) = box.p
                near = (abs(xs - (x1 + x2) / 2) < (x2 - x1) / 2 + 6) & (
                    abs(ys - (y1 + y2) / 2) < (y2 - y1) / 2 + 6
                )  # farther away, edges between two other colours may look like this one
                found = xs[near].min(), ys[near].min(), xs[near].max() + 1, ys[near].max() + 1
                assert np.abs(np.subtract(found, (x1, y1, x2, y2))).max() <= 2, (colour, box)
                checked += 1
    assert checked >= 30


def test_every_solid_shows_half_of_itself(hard: list[Problem]) -> None:
    for problem in hard[:10]:
        scene = facts(problem)
        solids = [Solid(*row[:6]) for row in scene["solids"]]
        for eye, target, roll, focal, centre in scene["cameras"]:
            camera = Camera(tuple(eye), tuple(target), roll, focal, tuple(centre))
            shot = cast(solids, camera, problem.images[0].size, (0, 0, 1))
            for n, solid in enumerate(solids):
                alone = cast([solid], camera, problem.images[0].size, (0, 0, 1))
                whole = np.count_nonzero(alone.owner)
                assert np.count_nonzero(shot.owner == n + 1) >= 0.47 * whole  # coarser than drawn


@pytest.mark.parametrize("form", ["sphere", "cube", "cylinder", "cone"])
def test_a_solid_covers_what_its_surface_projects_to(form: str) -> None:
    solid = Solid(form, "red", "large", 0.3, -0.2, 0.4)
    camera = Camera((5.0, 2.0, 4.0), (0.0, 0.0, 0.4), 0.1, 300.0, (120.0, 110.0))
    levels, angles = np.meshgrid(np.linspace(0, 1, 201), np.linspace(0, math.tau, 361))
    reach = {
        "sphere": np.sqrt(np.maximum(0, 1 - (2 * levels - 1) ** 2)),
        "cylinder": np.ones_like(levels),
        "cone": 1 - levels,
        "cube": 1 / np.maximum(abs(np.cos(angles)), abs(np.sin(angles))),
    }[form]
    x = solid.x + solid.radius * reach * np.cos(angles + solid.turn)
    y = solid.y + solid.radius * reach * np.sin(angles + solid.turn)
    spots = camera.project(np.stack([x, y, levels * solid.height], axis=-1).reshape(-1, 3))
    low, high = cast([solid], camera, Size(240, 220), (0, 0, 1)).box(0)
    assert np.abs(spots.min(axis=0) - low).max() <= 1
    assert np.abs(spots.max(axis=0) - high).max() <= 1


def test_what_is_nearer_hides_what_is_farther() -> None:
    camera = Camera((6.0, 0.0, 1.0), (0.0, 0.0, 0.4), 0.0, 300.0, (100.0, 100.0))
    near, far = (Solid("sphere", "red", "small", x, 0.0, 0.0) for x in (1.5, -1.5))
    for solids in ([near, far], [far, near]):
        shot = cast(solids, camera, Size(200, 200), (0, 0, 1))
        assert shot.visible(solids.index(near)) == 1
        assert shot.visible(solids.index(far)) < 0.6


def test_gold_is_exact_and_nothing_of_it_is_superseded(
    easy: list[Problem], hard: list[Problem]
) -> None:
    for problem in easy + hard:
        size = problem.images[0].size
        ops = [op for step in problem.gold for op in step.ops]
        assert 1 <= len(problem.gold) <= 2
        assert all(step.ops and step.thought for step in problem.gold)
        assert len(set(ops)) == len(ops)
        for op in ops:
            assert 1 <= op.k <= len(problem.images)
            if isinstance(op, Box):
                assert op in problem.scene.objects
                assert geometry.clip_box(op.p, size) == op.p
                assert geometry.area(op.p) > 0
            else:
                assert isinstance(op, Line)
                assert all(0 <= x <= size.width and 0 <= y <= size.height for x, y in op.p)
                assert op.p[0] != op.p[1]
        state = canvas.opened(problem)
        for step in problem.gold:
            state = canvas.execute(state, step)
        assert state.successions == ()


def test_a_label_names_one_object(easy: list[Problem], hard: list[Problem]) -> None:
    for problem in easy + hard:
        for k in range(1, len(problem.images) + 1):
            labels = [o.label for o in problem.scene.objects if o.k == k]
            assert len(set(labels)) == len(labels) == len(facts(problem)["solids"])
            assert labels == [o.label for o in problem.scene.objects if o.k == 1]


@pytest.mark.parametrize("difficulty", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("size", [(112, 112), (224, 112), (1000, 700)])
def test_every_size_works(size: tuple[int, int], difficulty: float) -> None:
    problem = make("size", difficulty, *size)
    assert 2 <= len(problem.images) <= 4
    assert all(image.size == size for image in problem.images)


def test_the_key_alone_decides_the_problem() -> None:
    assert make("key") == make("key")
    assert facts(make("key")) != facts(make("another key"))


def test_wordings_vary_and_plain_takes_the_first() -> None:
    for questions in (
        views_phrases.SAME,
        views_phrases.DIFFERENT,
        views_phrases.NEAREST,
        views_phrases.NEARER,
        views_phrases.HOLDS,
    ):
        assert len(set(questions)) >= 5
    varied = Views(width=112, height=112, difficulty=0.0, wording="varied")
    openings = {varied.sample(Random(f"words/{n}")).question[:12] for n in range(20)}
    assert len(openings) >= 6


def test_thoughts_name_no_placeholder(easy: list[Problem]) -> None:
    for problem in easy:
        steps: tuple[Step, ...] = problem.gold
        for text in (problem.question, problem.conclusion, *(s.thought for s in steps)):
            assert not any(bad in text for bad in ("{", "  ", "None", "()"))
