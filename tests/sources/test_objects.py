"""The objects: are the answers beyond doubt, the drawings in place, the windows in their splits?"""

import json
import math
from collections import Counter
from random import Random
from typing import Any, NamedTuple

import pytest

from pipeline import canvas, geometry, images, reward, skills
from pipeline.geometry import Corners
from pipeline.protocol import FAMILIES as MODELS
from pipeline.reward import Rules
from pipeline.rollout import Limits, retrace
from pipeline.sources import SOURCES, objects
from pipeline.sources.objects import Objects, Region
from pipeline.sources.objects_asked import FAMILIES
from pipeline.types import SPLITS, Box, Kind, Line, Op, Point, Problem
from tests.conftest import uncompressed

EACH = 250  # samples of each split


class Sampled(NamedTuple):
    split: str
    problem: Problem
    facts: dict[str, Any]  # its geometry
    region: Region


@pytest.fixture(scope="module")
def sampled() -> list[Sampled]:
    """Many problems of each split, their pictures cut out but not compressed."""
    rows = []
    with uncompressed("pipeline.tasks.posed"):
        for split in SPLITS:
            for n in range(EACH):
                problem = Objects(difficulty=n % 5 / 4).sample(Random(f"{split}/{n}"), split)
                assert problem.scene
                facts = json.loads(problem.scene.geometry)
                rows.append(Sampled(split, problem, facts, region_of(split, facts)))
    return rows


def region_of(split: str, facts: dict[str, Any]) -> Region:
    (region,) = [
        region
        for region in objects.regions()
        if region.split == split and region.photograph.name == facts["photograph"]
    ]
    return region


def inside(window: Corners, box: Corners) -> bool:
    (left, top), (right, bottom) = window
    return left <= box[0].x < box[1].x <= right and top <= box[0].y < box[1].y <= bottom


class Shown(NamedTuple):
    """An annotated box where the picture shows it, worked out here on its own."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def length(self, axis: int) -> float:
        return (self.right - self.left, self.bottom - self.top)[axis]


def shown(row: Sampled) -> list[Shown]:
    (left, top, right, bottom), (wide, tall) = row.facts["window"], row.facts["size"]
    places = []
    for n in row.facts["asked"][1:]:
        (x1, y1), (x2, y2) = row.region.boxes[n]
        xs = [(x - left) * wide / (right - left) for x in (x1, x2)]
        ys = [(y - top) * tall / (bottom - top) for y in (y1, y2)]
        if row.facts["mirrored"][0]:
            xs = [wide - x for x in reversed(xs)]
        if row.facts["mirrored"][1]:
            ys = [tall - y for y in reversed(ys)]
        places.append(Shown(xs[0], ys[0], xs[1], ys[1]))
    return places


def of(sampled: list[Sampled], *families: str) -> list[Sampled]:
    rows = [row for row in sampled if row.facts["asked"][0] in families]
    assert len(rows) > 50
    return rows


def far(a: Shown, b: Shown) -> float:
    return math.dist(a.middle, b.middle)


def chosen(row: Sampled) -> int:
    return "ABCDEFGH".index(row.problem.answer)


# The windows.


def test_windows_lie_in_a_region_of_their_split_and_hold_what_is_asked_about(
    sampled: list[Sampled],
) -> None:
    for row in sampled:
        left, top, right, bottom = row.facts["window"]
        window = Point(left, top), Point(right, bottom)
        assert inside(row.region.window, window)
        for n in row.facts["asked"][1:]:
            assert inside(window, row.region.boxes[n])
            name = row.region.names[n]
            if "{" in name:  # a left one is one only beside a right one
                twin = name.format(left="{right}", right="{left}")
                assert inside(window, row.region.boxes[row.region.names.index(twin)])


def test_each_split_can_give_hundreds_of_scenes_of_every_family(sampled: list[Sampled]) -> None:
    for split in SPLITS:
        rows = [row for row in sampled if row.split == split]
        bare = {json.dumps({**row.facts, "tone": None, "question": None}) for row in rows}
        assert len(bare) >= 0.95 * EACH
        assert {row.facts["asked"][0] for row in rows} == set(FAMILIES)
        assert min(Counter(row.facts["photograph"] for row in rows).values()) >= 0.1 * EACH


# The answers.


def test_sides_are_those_of_the_annotation_and_no_close_call(sampled: list[Sampled]) -> None:
    for row in of(sampled, "side"):
        (x1, y1), (x2, y2) = (box.middle for box in shown(row))
        where = row.problem.options[chosen(row)]
        ahead = {
            "to the left of": x2 - x1,
            "to the right of": x1 - x2,
            "above": y2 - y1,
            "below": y1 - y2,
        }
        assert ahead.pop(where) >= 1.39 * max(ahead.values()) > -math.inf
        assert set(row.problem.options) == {where, *ahead}


def test_what_is_furthest_to_a_side_is_so_by_its_middle_and_by_its_edge(
    sampled: list[Sampled],
) -> None:
    for row in of(sampled, "furthest"):
        (side,) = [s for s in ("left", "right", "top", "bottom") if f"{s} " in f"{asked(row)} "]
        sign = 1 if side in ("right", "bottom") else -1
        axis = 0 if side in ("left", "right") else 1
        boxes = shown(row)
        best = boxes.pop(chosen(row))
        for other in boxes:
            assert sign * (best.middle[axis] - other.middle[axis]) >= 4.9
            assert sign * (getattr(best, side) - getattr(other, side)) >= 4.9


def asked(row: Sampled) -> str:
    """The question without the names in it."""
    question = row.problem.question
    assert row.problem.scene
    for name in sorted((op.label for op in row.problem.scene.objects), key=len, reverse=True):
        question = question.replace(name, "…")
    return question.translate(str.maketrans(":?.,", "    "))


def test_what_is_nearest_or_farthest_is_so_by_a_fifth(sampled: list[Sampled]) -> None:
    for row in of(sampled, "nearest"):
        *others, last = shown(row)
        far_off = [far(box, last) for box in others]
        right = far_off.pop(chosen(row))
        if "nearest to" in row.problem.question:
            assert min(far_off) >= 1.2 * right
        else:
            assert max(far_off) <= right / 1.2


def test_what_is_widest_or_shortest_is_so_by_more_than_the_boxes_may_be_off(
    sampled: list[Sampled],
) -> None:
    axes = {"widest": 0, "narrowest": 0, "tallest": 1, "shortest": 1}
    for row in of(sampled, "size"):
        (most,) = [word for word in axes if word in row.problem.question]
        axis = axes[most]
        scale = row.facts["size"][axis] / (
            row.facts["window"][axis + 2] - row.facts["window"][axis]
        )
        off = 2 * row.region.photograph.exact * scale  # of a length: both of its edges
        lengths = [box.length(axis) for box in shown(row)]
        right = lengths.pop(chosen(row))
        for other in lengths:
            small, large = sorted((right, other))
            assert small + off <= large - off + 1e-9
            assert large >= 1.149 * small
            assert (large == right) == (most in ("widest", "tallest"))


def test_ratios_are_those_of_the_annotation_and_of_the_lines_drawn(
    sampled: list[Sampled],
) -> None:
    for row in of(sampled, "ratio", "apart"):
        family, boxes = row.facts["asked"][0], shown(row)
        if family == "ratio":
            axis = 0 if "width" in row.problem.question or "wide" in row.problem.question else 1
            truth = sorted(box.length(axis) for box in boxes)
        else:
            truth = sorted(far(box, boxes[2]) for box in boxes[:2])
        given = float(row.problem.answer)
        assert given == pytest.approx(truth[1] / truth[0], rel=0.026)  # 2 %, then two decimals
        assert 1.05 < given < 6.2
        lines = sorted(math.dist(*op.p) for op in row.problem.gold[1].ops)
        assert row.problem.answer == f"{lines[1] / lines[0]:.2f}"
        assert min(truth) >= 12 * row.region.photograph.exact * min(
            row.facts["size"][n] / (row.facts["window"][n + 2] - row.facts["window"][n])
            for n in (0, 1)
        )


def test_numbers_are_of_what_lies_all_on_one_side(sampled: list[Sampled]) -> None:
    counted = Counter[int]()
    for row in of(sampled, "number"):
        *others, last = shown(row)
        words = ("to the left of", "to the right of", "above", "below")
        (where,) = [w for w in words if f" {w} " in row.problem.question]
        there = {
            "to the left of": [box.right <= last.left for box in others],
            "to the right of": [box.left >= last.right for box in others],
            "above": [box.bottom <= last.top for box in others],
            "below": [box.top >= last.bottom for box in others],
        }
        opposite = dict(zip(words, (words[1], words[0], words[3], words[2]), strict=True))
        assert all(a != b for a, b in zip(there[where], there[opposite[where]], strict=True))
        assert row.problem.answer == str(sum(there[where]))
        counted[sum(there[where])] += 1
    assert set(counted) >= {0, 1, 2, 3}
    assert max(counted.values()) <= 0.5 * counted.total()


def test_every_letter_is_as_often_right(sampled: list[Sampled]) -> None:
    choices = [row.problem for row in sampled if row.problem.kind is Kind.CHOICE]
    for letter in "ABCD":
        shares = [1 / len(p.options) for p in choices if len(p.options) > "ABCD".index(letter)]
        sigma = sum(share * (1 - share) for share in shares) ** 0.5
        assert abs(sum(p.answer == letter for p in choices) - sum(shares)) < 4 * sigma


# The drawings.


def test_a_left_one_lies_left_of_its_right_one_also_when_mirrored(sampled: list[Sampled]) -> None:
    both = Counter[bool]()
    for row in sampled:
        assert row.problem.scene
        places = {op.label: op.p for op in row.problem.scene.objects if isinstance(op, Box)}
        for label, box in places.items():
            if label.endswith("on the left"):
                assert box[0].x < places[label.replace("on the left", "on the right")][0].x
                both[bool(row.facts["mirrored"][0])] += 1
    assert min(both[True], both[False]) > 20


def test_pictures_with_readable_writing_are_never_mirrored(sampled: list[Sampled]) -> None:
    for row in sampled:
        if row.facts["photograph"] in ("astronaut", "camera", "text"):
            assert row.facts["mirrored"] == [0, 0]


def test_gold_boxes_what_is_named_and_draws_lines_only_where_lengths_are_compared(
    sampled: list[Sampled],
) -> None:
    for row in sampled:
        problem, family = row.problem, row.facts["asked"][0]
        assert problem.scene
        ops: list[Op] = [op for step in problem.gold for op in step.ops]
        boxes = [op for op in ops if isinstance(op, Box)]
        asked_about = problem.scene.objects[: len(row.facts["asked"]) - 1]
        assert sorted(boxes, key=str) == sorted(asked_about, key=str)
        for box, place in zip(asked_about, shown(row), strict=True):
            ends = (*box.p[0], *box.p[1])
            assert max(abs(a - b) for a, b in zip(ends, place, strict=True)) <= 0.51
        assert any(isinstance(op, Line) for op in ops) == (family in ("nearest", "ratio", "apart"))
        assert set(ops) <= set(problem.scene.objects)
        assert all(box.label in problem.question for box in boxes)
        for op in problem.scene.objects:
            assert geometry.clip_box(op.p, problem.images[0].size) == op.p
        state = canvas.opened(problem)
        for step in problem.gold:
            state = canvas.execute(state, step)
        assert state.successions == ()
        assert len(state.live) == len(ops)


def test_letters_lie_beside_what_they_name_and_lead_to_its_middle() -> None:
    seen = 0
    for n in range(60):
        problem = Objects(difficulty=n % 5 / 4).sample(Random(f"letters/{n}"), SPLITS[n % 5])
        assert problem.scene
        facts = json.loads(problem.scene.geometry)
        region = region_of(SPLITS[n % 5], facts)
        if not region.photograph.noun:
            continue
        (left, top, right, bottom), tone = facts["window"], tuple(facts["tone"])
        window = Point(left, top), Point(right, bottom)
        size = problem.images[0].size
        crop = objects.Crop(window, size, tuple(map(bool, facts["mirrored"])), tone)
        bare = crop.cut(objects.pixels_of(region.photograph))
        changed = (images.decode(problem.images[0]) != bare).any(axis=2)
        for n in facts["asked"][1:]:
            (x1, y1), (x2, y2) = crop.box(region.boxes[n])
            x, y = (x1 + x2) // 2, (y1 + y2) // 2
            assert changed[y - 1 : y + 2, x - 1 : x + 2].any()
            assert changed[y1:y2, x1:x2].sum() <= 3 * max(x2 - x1, y2 - y1)  # by a thin line
        seen += 1
    assert seen >= 15


def test_gold_earns_full_marks_in_every_split() -> None:
    for split in SPLITS:
        for n in range(12):
            problem = Objects(difficulty=n / 11).sample(Random(f"gold/{n}"), split)
            told = skills.gold(problem, Limits(), MODELS["qwen2.5-vl"])
            score = reward.score(problem, told, retrace(problem, told), Rules())
            assert (score.correct, score.format, score.draw) == (1, 1, 1)


@pytest.mark.parametrize(
    ("width", "height", "unit"), [(112, 112, 28), (448, 224, 28), (320, 448, 32)]
)
def test_every_size_works_for_every_split(width: int, height: int, unit: int) -> None:
    for split in SPLITS:
        for n in range(15):
            source = SOURCES["objects"]()(
                width=width, height=height, unit=unit, difficulty=n / 14, wording="varied"
            )
            problem = source.sample(Random(f"size/{n}"), split)
            (size,) = [image.size for image in problem.images]
            assert max(size) <= max(width, height)
            assert size.width * size.height <= width * height
            assert size.width % unit == size.height % unit == 0
            assert (problem.id, problem.task) == ("", "objects")


def test_the_same_key_gives_the_same_bytes_and_another_key_another_problem() -> None:
    for split in SPLITS:
        first, again, other = (Objects().sample(Random(key), split) for key in ("a", "a", "b"))
        assert first == again
        assert [i.png for i in first.images] == [i.png for i in again.images]
        assert first.scene != other.scene


def test_a_split_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no split"):
        Objects().sample(Random(0), "test")
