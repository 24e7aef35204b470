"""The annotated objects: are the boxes where the photographs show something, may they be used?"""

import ast
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from pipeline import geometry, images
from pipeline.geometry import Corners
from pipeline.sources import objects
from pipeline.sources.objects import Region
from pipeline.types import SPLITS, Point


def every_object() -> list[tuple[Region, str, Corners]]:
    return [
        (region, name, box)
        for region in objects.regions()
        for name, box in zip(region.names, region.boxes, strict=True)
    ]


def inside(window: Corners, box: Corners) -> bool:
    (left, top), (right, bottom) = window
    return left <= box[0].x < box[1].x <= right and top <= box[0].y < box[1].y <= bottom


def test_there_are_many_objects_and_each_lies_in_its_region_and_photograph() -> None:
    assert len({region.photograph for region in objects.regions()}) == 8
    assert len(every_object()) == 91
    for region, name, box in every_object():
        whole = (Point(0, 0), Point(*region.photograph.size))
        assert inside(whole, region.window), name
        assert inside(region.window, box), name
        assert min(box[1].x - box[0].x, box[1].y - box[0].y) >= 4 * region.photograph.exact, name
        assert images.size_of(objects.pixels_of(region.photograph)) == region.photograph.size


def test_no_object_is_annotated_twice() -> None:
    for region in objects.regions():
        assert len(set(region.names)) == len(region.names)
        for n, box in enumerate(region.boxes):
            assert all(geometry.iou(box, other) < 0.8 for other in region.boxes[:n])


def test_every_photograph_has_the_free_licence_that_scikit_image_states() -> None:
    package = find_spec("skimage")
    assert package
    assert package.submodule_search_locations
    code = Path(package.submodule_search_locations[0], "data", "_fetchers.py").read_text()
    stated = {}
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef):
            for name in ast.walk(node):
                if isinstance(name, ast.Constant) and str(name.value).startswith("data/"):
                    stated[str(name.value)] = " ".join((ast.get_docstring(node) or "").split())
    for photograph in {region.photograph for region in objects.regions()}:
        words = {"CC0": "CC0", "public domain": "public domain"}[photograph.licence]
        assert words in stated[f"data/{photograph.file}"], photograph.name
        assert photograph.origin


def standing_out(pixels: images.Pixels, box: Corners) -> Corners:
    """Around the largest thing near a box whose colour is not that of the surroundings."""
    (left, top), (right, bottom) = box
    room = max(4, round(0.2 * min(right - left, bottom - top)))
    x, y = max(0, left - room), max(0, top - room)
    lab = cv2.cvtColor(pixels[y : bottom + room, x : right + room], cv2.COLOR_RGB2LAB)
    ground = np.ones(lab.shape[:2], np.bool_)
    ground[top - y : bottom - y, left - x : right - x] = False
    away = np.linalg.norm(lab.astype(float) - np.median(lab[ground], axis=0), axis=2)
    _, mask = cv2.threshold(away.clip(0, 255).astype(np.uint8), 0, 1, cv2.THRESH_OTSU)
    _, _, rows, _ = cv2.connectedComponentsWithStats(mask)
    across, down, wide, tall, _ = max(rows[1:].tolist(), key=lambda row: row[4])
    return Point(x + across, y + down), Point(x + across + wide, y + down + tall)


CLEAR = {"hair", "neck ring", "round patch", "helmet", "white rim of the cup", "white collar"} | {
    "pupil of the eye on the {right}", "whole red disc with its notch",
    *(f"stroke {n}" for n in range(10)),
}  # fmt: skip


def test_what_stands_out_by_its_colour_is_found_again_where_it_was_annotated() -> None:
    found = 0
    for region, name, box in every_object():
        if name in CLEAR:
            again = standing_out(objects.pixels_of(region.photograph), box)
            assert geometry.iou(box, again) >= 0.8, (name, box, again)
            found += 1
    assert found == len(CLEAR)


def strangeness(pixels: images.Pixels, box: Corners) -> float:
    """How different the colours in a box are from those around it, 0..1."""
    (left, top), (right, bottom) = box
    room = max(3, round(0.15 * min(right - left, bottom - top)))
    around = np.zeros(pixels.shape[:2], np.bool_)
    around[max(0, top - room) : bottom + room, max(0, left - room) : right + room] = True
    around[top:bottom, left:right] = False
    shares = []
    for colours in (pixels[top:bottom, left:right].reshape(-1, 3), pixels[around]):
        counts, _ = np.histogramdd(colours, bins=6, range=[(0, 256)] * 3)
        shares.append(counts / max(1, counts.sum()))
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def test_boxes_differ_from_what_is_around_them_more_than_boxes_beside_them_do() -> None:
    better = []
    for region, _, box in every_object():
        pixels = objects.pixels_of(region.photograph)
        (left, top), (right, bottom) = box
        wide, tall = (right - left) // 2, (bottom - top) // 2
        moved = [
            (Point(left + x, top + y), Point(right + x, bottom + y))
            for x, y in ((wide, 0), (-wide, 0), (0, tall), (0, -tall))
        ]
        whole = (Point(0, 0), Point(*region.photograph.size))
        beside = [strangeness(pixels, other) for other in moved if inside(whole, other)]
        if beside:
            better.append(strangeness(pixels, box) > np.mean(beside))
    assert len(better) >= 80
    assert np.mean(better) >= 0.9


def test_galaxies_are_bright_up_to_the_edges_of_their_boxes_and_not_around() -> None:
    galaxies = [one for one in every_object() if one[0].photograph.name == "hubble"]
    (photograph,) = {region.photograph for region, _, _ in galaxies}
    grey = objects.pixels_of(photograph).max(axis=2).astype(float)
    grey = cv2.GaussianBlur(grey, (0, 0), 1)
    for _, name, ((left, top), (right, bottom)) in galaxies:
        inner = grey[top:bottom, left:right]
        strips = (inner[:3], inner[-3:], inner[:, :3], inner[:, -3:])
        assert min(strip.max() for strip in strips) >= 55, name
        ring = np.zeros(grey.shape, np.bool_)
        ring[top - 4 : bottom + 4, left - 4 : right + 4] = True
        ring[top - 1 : bottom + 1, left - 1 : right + 1] = False
        assert np.median(grey[ring]) < 50, name


def test_regions_of_a_photograph_do_not_overlap_and_every_split_has_two_photographs() -> None:
    photographs = defaultdict(set)
    for n, region in enumerate(objects.regions()):
        photographs[region.split].add(region.photograph.name)
        for other in objects.regions()[:n]:
            if other.photograph == region.photograph:
                assert geometry.iou(region.window, other.window) == 0
                assert other.split != region.split
    assert set(photographs) == set(SPLITS)
    assert min(map(len, photographs.values())) >= 2


def test_the_stereo_pair_and_the_coins_are_left_to_the_other_source() -> None:
    files = {region.photograph.file for region in objects.regions()}
    assert not any(name.startswith(("coins", "motorcycle")) for name in files)
