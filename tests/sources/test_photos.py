"""The photos: is the truth true, are the splits apart, does every size work?"""

import json
import math
from collections import Counter
from random import Random
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline import canvas, geometry, images
from pipeline.sources import SOURCES, coins, crops, stereo
from pipeline.sources.photos import Photos
from pipeline.types import SPLITS, Box, Kind, Line, Modality, Point, Problem, Size
from tests.conftest import uncompressed

Sampled = tuple[str, Problem, dict[str, Any]]  # split, problem, geometry
EACH = 300  # samples of each split


CUT_OUT = ("pipeline.sources.coins", "pipeline.sources.stereo")  # where pictures are made


@pytest.fixture(scope="module")
def sampled() -> list[Sampled]:
    """Many problems of each split."""
    with uncompressed(*CUT_OUT):
        problems = [
            (split, Photos(difficulty=n % 5 / 4).sample(Random(f"{split}/{n}"), split))
            for split in SPLITS
            for n in range(EACH)
        ]
    return [(split, p, json.loads(p.scene.geometry)) for split, p in problems if p.scene]


def of(sampled: list[Sampled], photograph: str) -> list[Sampled]:
    return [row for row in sampled if row[2]["photograph"] == photograph]


def corners(numbers: list[int]) -> geometry.Corners:
    return Point(*numbers[:2]), Point(*numbers[2:])


def apart(a: geometry.Corners, b: geometry.Corners) -> bool:
    return geometry.iou(a, b) == 0


def segmented() -> list[geometry.Corners]:
    """Boxes of what is brighter than its surroundings, holes filled, specks removed: not the
    watershed that the annotation began with."""
    grey = cv2.medianBlur(cv2.cvtColor(coins.photograph()[0], cv2.COLOR_RGB2GRAY), 3)
    mean, above = cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY
    bright = cv2.adaptiveThreshold(grey, 1, mean, above, 91, -8)
    outlines, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(grey), outlines, -1, 1, cv2.FILLED)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13))
    opened = cv2.morphologyEx(filled, cv2.MORPH_OPEN, disc)
    _, _, rows, _ = cv2.connectedComponentsWithStats(opened)
    compact = [row for row in rows.tolist() if row[4] > 400 and max(row[2:4]) < 80]
    return [corners([x, y, x + width, y + height]) for x, y, width, height, _ in compact]


def test_the_boxes_of_all_24_coins_agree_with_an_independent_segmentation() -> None:
    found, (_, boxes) = segmented(), coins.photograph()
    assert len(boxes) == len(found) == 24
    for box in boxes:
        assert max(geometry.iou(box, other) for other in found) >= 0.92


def test_no_two_coins_overlap_and_each_belongs_to_one_split() -> None:
    _, boxes = coins.photograph()
    for n, box in enumerate(boxes):
        assert all(apart(box, other) for other in boxes[:n])
        assert sum(not apart(box, region) for region in coins.REGIONS.values()) == 1
    assert {max(map(len, coins.blocks(split))) for split in SPLITS} == {4, 6}


def test_a_file_that_is_not_the_annotated_one_is_refused() -> None:
    with pytest.raises(ValueError, match="not the file that was annotated"):
        crops.wheel_file("coins.png", "0" * 64)


def test_windows_cut_no_coin_and_counts_are_of_the_coins_inside(sampled: list[Sampled]) -> None:
    _, boxes = coins.photograph()
    counted = Counter[int]()
    for split, problem, facts in of(sampled, "coins"):
        window = corners(facts["window"])
        seen = [box for box in boxes if not apart(box, window)]
        assert all(geometry.clip_box(box, Size(*window[1])) == box for box in seen)
        assert all(box[0].x >= window[0].x and box[0].y >= window[0].y for box in seen)
        assert all(not apart(box, coins.REGIONS[split]) for box in seen)
        assert problem.scene
        assert len(seen) == sum(isinstance(o, Box) for o in problem.scene.objects)
        if not facts["marks"]:
            answer = problem.answer
            if problem.kind is Kind.CHOICE:
                answer = problem.options["ABCD".index(answer)]
            assert int(answer) == len(seen) == len(problem.gold[0].ops)
            counted[len(seen)] += 1
    assert set(counted) == {1, 2, 3, 4, 5, 6}


def test_the_largest_and_the_smallest_coin_stand_out(sampled: list[Sampled]) -> None:
    _, boxes = coins.photograph()
    asked = [row for row in of(sampled, "coins") if row[2]["marks"] and row[1].options]
    for _, problem, facts in asked:
        (left, top, right, bottom), (wide, tall) = facts["window"], facts["size"]
        shown = {
            letter: (b[1].x - b[0].x) * wide / (right - left)
            + (b[1].y - b[0].y) * tall / (bottom - top)
            for letter, b in ((letter, boxes[n]) for letter, n in facts["marks"].items())
        }
        odd = shown.pop(problem.answer)
        ratios = [odd / other for other in shown.values()]
        assert min(ratios) >= 1.08 if "largest" in problem.question else max(ratios) <= 1 / 1.08
    assert {len(problem.options) for _, problem, _ in asked} == {3, 4}


def test_ratios_of_widths_are_those_of_the_annotation(
    sampled: list[Sampled],
) -> None:
    _, boxes = coins.photograph()
    for _, problem, facts in of(sampled, "coins"):
        if facts["marks"] and problem.kind is Kind.NUMBER:
            widths = sorted(boxes[n][1].x - boxes[n][0].x for n in facts["marks"].values())
            assert float(problem.answer) == pytest.approx(
                widths[1] / widths[0], rel=0.015
            )  # and two decimals
            lines = sorted(line.p[1].x - line.p[0].x for line in problem.gold[1].ops)
            assert problem.answer == f"{lines[1] / lines[0]:.2f}"


def test_boxes_lie_on_the_coins_that_are_shown(sampled: list[Sampled]) -> None:
    """Coins are brighter than the ground: a box must be, and the frame around it must not."""
    for n in range(40):
        problem = Photos(difficulty=1).sample(Random(f"bright/{n}"), SPLITS[n % 5])
        if problem.scene is None or '"coins"' not in problem.scene.geometry:
            continue
        grey = cv2.cvtColor(images.decode(problem.images[0]), cv2.COLOR_RGB2GRAY)
        ground = np.ones(grey.shape, np.bool_)
        boxes = [op.p for op in problem.scene.objects if isinstance(op, Box)]
        for (left, top), (right, bottom) in boxes:
            ground[top:bottom, left:right] = False
        for (left, top), (right, bottom) in boxes:
            inset_x, inset_y = (right - left) // 6, (bottom - top) // 6
            coin = grey[top + inset_y : bottom - inset_y, left + inset_x : right - inset_x]
            assert coin.mean() > grey[ground].mean() + 20


def difference(mark: tuple[int, int], shift: float) -> float:
    """Mean difference of levels between a patch of the left picture and the one in the right
    picture that is ``shift`` px to its left."""
    left, right, _ = stereo.pair()
    patch, centre = (13, 13), (mark[0] + 0.0, mark[1] + 0.0)
    here = cv2.getRectSubPix(left, patch, centre).astype(float)
    there = cv2.getRectSubPix(right, patch, (centre[0] - shift, centre[1])).astype(float)
    return float(np.abs(here - there).mean())


def test_the_right_picture_shows_a_marked_point_further_left(sampled: list[Sampled]) -> None:
    disparity = stereo.pair()[2]
    wins, right, wrong = 0, [], []
    places = [m for _, _, facts in of(sampled, "motorcycle") for m in facts["marks"].values()]
    for x, y in places:
        right.append(difference((x, y), disparity[y, x]))
        wrong.append(difference((x, y), -disparity[y, x]))
        wins += right[-1] < wrong[-1]
    assert wins / len(places) > 0.97
    assert np.mean(wrong) > 4 * np.mean(right)


def test_the_disparity_map_is_of_the_left_picture() -> None:
    left, right, disparity = stereo.pair()
    known = np.isfinite(disparity)
    y, x = np.indices(disparity.shape, np.float32)
    shift = np.where(known, disparity, 0)

    def mismatch(here: images.Pixels, there: images.Pixels, sign: int) -> float:
        moved = cv2.remap(there, x + sign * shift, y, cv2.INTER_LINEAR).astype(float)
        return float(np.abs(moved - here).mean(axis=2)[known & (x > 60) & (x < 680)].mean())

    as_used = mismatch(left, right, -1)
    assert 1.5 * as_used < mismatch(right, left, +1)  # "of the right picture"
    assert 4 * as_used < min(mismatch(left, right, +1), mismatch(right, left, -1))


def test_boxes_and_lines_of_a_point_lie_a_disparity_apart(sampled: list[Sampled]) -> None:
    disparity = stereo.pair()[2]
    for _, problem, facts in of(sampled, "motorcycle"):
        assert problem.scene
        (left, top, right, bottom), (wide, tall) = facts["window"], facts["size"]
        for op in problem.scene.objects:
            x, y = facts["marks"][op.label[-1]]
            there = (x + 0.5 - left) * wide / (right - left)
            shift = disparity[y, x] * wide / (right - left)
            middles = [there, there - shift] if isinstance(op, Box) else [there - shift, there]
            height = (y + 0.5 - top) * tall / (bottom - top)
            if isinstance(op, Box):
                middle = (op.p[0].x + op.p[1].x) / 2
                assert abs(middle - middles[op.k - 1]) <= 0.51
                assert abs((op.p[0].y + op.p[1].y) / 2 - height) <= 0.51
            else:
                assert all(abs(p.x + 0.5 - m) <= 0.51 for p, m in zip(op.p, middles, strict=True))


def test_answers_about_depth_follow_from_the_disparity(sampled: list[Sampled]) -> None:
    disparity = stereo.pair()[2]
    kinds = Counter[tuple[Kind, Modality]]()
    for _, problem, facts in of(sampled, "motorcycle"):
        depths = {
            letter: 193.001 * 994.978 / (float(disparity[y, x]) + 31.086)
            for letter, (x, y) in facts["marks"].items()
        }
        kinds[problem.kind, problem.modality] += 1
        if problem.kind is Kind.NUMBER:
            assert problem.answer == f"{max(depths.values()) / min(depths.values()):.2f}"
            far = max(depths, key=depths.__getitem__)
            assert problem.question.index(f"point {far}") == problem.question.index("point ")
            continue
        odd = depths.pop(problem.answer)
        ratios = [other / odd for other in depths.values()]
        assert min(ratios) >= 1.15 if "nearest" in problem.question else max(ratios) <= 1 / 1.15
    assert len(kinds) == 3
    assert min(kinds.values()) > 50


def test_regions_of_the_splits_are_disjoint() -> None:
    for regions, size in ((coins.REGIONS, (384, 303)), (stereo.REGIONS, (741, 500))):
        assert set(regions) == set(SPLITS)
        boxes = list(regions.values())
        assert all(apart(a, b) for n, a in enumerate(boxes) for b in boxes[:n])
        assert all(geometry.clip_box(box, Size(*size)) == box for box in boxes)


def test_no_window_shows_scene_of_another_split_in_either_picture(sampled: list[Sampled]) -> None:
    """The scene is measured in columns of the left picture. What the right picture shows at x is
    at x + disparity there; where it is unknown, anything from the least to the most is assumed."""
    disparity = stereo.pair()[2]
    known = disparity[np.isfinite(disparity)]
    assert known.min() >= 0
    assert known.max() <= stereo.MOST
    content: dict[str, list[geometry.Corners]] = {split: [] for split in SPLITS}
    for split, _, facts in of(sampled, "motorcycle"):
        left, top, right, bottom = facts["window"]
        in_right = math.floor(left + known.min()), math.ceil(right + known.max())
        content[split].append((Point(left, top), Point(right, bottom)))
        content[split].append((Point(in_right[0], top), Point(in_right[1], bottom)))
    whole = {split: coins.hull(boxes) for split, boxes in content.items()}
    for split, box in whole.items():
        assert geometry.clip_box(box, Size(*stereo.REGIONS[split][1])) == box
        assert all(apart(box, other) for name, other in whole.items() if name != split)
    windows = [(split, corners(facts["window"])) for split, _, facts in of(sampled, "coins")]
    for split, window in windows:
        assert geometry.area(window) > 0
        assert all(apart(window, coins.REGIONS[other]) for other in SPLITS if other != split)


@pytest.mark.parametrize("side", [112, 224, 448])
def test_every_size_works_for_every_split(side: int) -> None:
    for split in SPLITS:
        for n in range(50):
            source = SOURCES["photos"]()(
                width=side, height=side, unit=28, difficulty=n % 3 / 2, wording="varied"
            )
            with uncompressed(*CUT_OUT):
                problem = source.sample(Random(f"size/{n}"), split)
            for image in problem.images:
                assert max(image.size) <= side
                assert not any(length % 28 for length in image.size)
                assert len({image.size for image in problem.images}) == 1
            assert problem.id == ""
            assert problem.task == "photos"
            assert len(problem.gold) in (1, 2)


def test_pictures_keep_their_aspect_and_fit_any_canvas_and_unit() -> None:
    for n in range(60):
        width, height, unit = ((448, 224, 28), (112, 336, 28), (320, 320, 32))[n % 3]
        source = Photos(width=width, height=height, unit=unit, difficulty=n / 59)
        problem = source.sample(Random(n), SPLITS[n % 5])
        assert problem.scene
        left, top, right, bottom = json.loads(problem.scene.geometry)["window"]
        for image in problem.images:
            across, down = image.size.width / (right - left), image.size.height / (bottom - top)
            assert max(across / down, down / across) <= 1.15
            assert max(across, down) <= 4.7
            assert max(image.size) <= max(width, height)
            assert image.size.width * image.size.height <= width * height
            assert image.size.width % unit == image.size.height % unit == 0


def test_gold_marks_known_objects_inside_the_picture_and_replaces_none(
    sampled: list[Sampled],
) -> None:
    for _, problem, _ in sampled:
        assert problem.scene
        assert problem.conclusion
        ops = [op for step in problem.gold for op in step.ops]
        assert ops
        assert len(set(ops)) == len(ops)
        assert set(ops) <= set(problem.scene.objects)
        for op in problem.scene.objects:
            size = problem.images[op.k - 1].size
            assert geometry.clip_box(op.p, size) == op.p
            assert geometry.area(op.p) > 0 if isinstance(op, Box) else op.p[0].x < op.p[1].x
        state = canvas.opened(problem)
        for step in problem.gold:
            state = canvas.execute(state, step)
        assert state.successions == ()
        assert len(state.live) == len(ops)


def test_the_same_key_gives_the_same_bytes_and_another_key_another_problem() -> None:
    for split in SPLITS:
        first, again, other = (Photos().sample(Random(key), split) for key in ("a", "a", "b"))
        assert first == again
        assert [i.png for i in first.images] == [i.png for i in again.images]
        assert first.images != other.images


def test_every_letter_is_as_often_right(sampled: list[Sampled]) -> None:
    choices = [problem for _, problem, _ in sampled if problem.kind is Kind.CHOICE]
    for letter in "ABCD":
        shares = [1 / len(p.options) for p in choices if len(p.options) > "ABCD".index(letter)]
        sigma = sum(share * (1 - share) for share in shares) ** 0.5
        assert abs(sum(p.answer == letter for p in choices) - sum(shares)) < 4 * sigma


def test_each_split_can_give_hundreds_of_scenes(sampled: list[Sampled]) -> None:
    """Windows are drawn pixel by pixel, so that nearly every sample is a scene of its own, even
    when a change of tone alone does not count: of 2000 samples of a split, 1939 to 1999 were."""
    for split in SPLITS:
        bare = {json.dumps({**facts, "tone": None}) for name, _, facts in sampled if name == split}
        assert len(bare) >= 0.98 * EACH


def test_lines_are_only_drawn_where_a_length_is_compared(sampled: list[Sampled]) -> None:
    for _, problem, facts in sampled:
        lines = any(isinstance(op, Line) for step in problem.gold for op in step.ops)
        compared = problem.modality is Modality.VIEWS or (
            facts["photograph"] == "coins" and facts["marks"] and problem.kind is Kind.NUMBER
        )
        assert lines == bool(compared)


def test_a_split_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no split"):
        Photos().sample(Random(0), "test")
