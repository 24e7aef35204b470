"""Objects: sides, sizes and distances of annotated things in eight more photographs.

``objects.json`` holds the photographs that scikit-image ships and whose licence its documentation
states, each with a box around some things that nobody would mistake. What has a name of its own is
asked for by that name; galaxies and strokes of a pen get letters.

Each region of a photograph belongs to one split, and regions do not overlap: no window, no object
and no pair of objects is in two splits. Of most photographs the one region is all of it, so that
what is evaluated on was never seen.

Truth is measured in the picture as shown, since resizing may change the aspect a little. What is
asked holds by more than the annotation may be off (``exact``), see `objects_asked`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import cv2

from pipeline import geometry
from pipeline.geometry import Corners
from pipeline.images import Pixels, read, size_of
from pipeline.sources.crops import Crop, badge, fitted, some_tone, wheel_file
from pipeline.sources.objects_asked import FAMILIES, Thing, View
from pipeline.tasks import Wording
from pipeline.tasks.phrasing import LETTERS, say
from pipeline.tasks.posed import posed
from pipeline.types import SPLITS, Box, Line, Op, Point, Problem, Size

LEADS = (
    "Each letter names what its line leads to. ",
    "A line leads from each letter to what it names. ",
    "Letters are tied by lines to what they stand for. ",
)
ATTEMPTS = 4000
YELLOW = (255, 225, 0)
PATIENCE = 40  # attempts after which another photograph and another question are tried
FLAT = 3.0  # the largest ratio of a window's sides
LEAST = 6  # px; the smallest side of a box that is asked about, as shown


@dataclass(frozen=True, slots=True)
class Photograph:
    """A file of the wheel and what is known of it."""

    name: str
    file: str
    sha256: str
    size: Size
    origin: str
    licence: str
    exact: int  # px by which the edge of a box may be off
    mirrored: tuple[bool, bool]  # whether it may be, left to right and top to bottom
    noun: str  # what its objects are called, if they get letters; else empty


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a photograph that belongs to one split, with the objects in it."""

    photograph: Photograph
    split: str
    window: Corners
    names: tuple[str, ...]  # with {left} and {right} for the sides that mirroring swaps
    boxes: tuple[Corners, ...]


@cache
def regions() -> tuple[Region, ...]:
    """All that ``objects.json`` holds."""
    facts = json.loads(Path(__file__).with_name("objects.json").read_text())
    return tuple(
        _region(_photograph(rows), row) for rows in facts["photographs"] for row in rows["regions"]
    )


def _photograph(row: dict[str, Any]) -> Photograph:
    text = {name: row[name] for name in ("name", "file", "sha256", "origin", "licence")}
    across, down = row["mirrored"]
    return Photograph(
        **text,
        size=Size(*row["size"]),
        exact=row["exact"],
        mirrored=(across, down),
        noun=row.get("noun", ""),
    )


def _region(photograph: Photograph, row: dict[str, Any]) -> Region:
    found = row["objects"]
    if isinstance(found, list):
        found = {f"{photograph.noun} {n}": box for n, box in enumerate(found)}
    boxes = tuple(_corners(box) for box in found.values())
    return Region(photograph, row["split"], _corners(row["window"]), tuple(found), boxes)


def _corners(numbers: list[int]) -> Corners:
    left, top, right, bottom = numbers
    return Point(left, top), Point(right, bottom)


@cache
def pixels_of(photograph: Photograph) -> Pixels:
    """The photograph itself.

    Raises:
        ValueError: if the file is not the one that was annotated.
    """
    pixels = read(wheel_file(photograph.file, photograph.sha256))
    if size_of(pixels) != photograph.size:
        raise ValueError(f"{photograph.file} was annotated at {photograph.size} px")
    return pixels


@dataclass(frozen=True)
class Objects:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    unit: int = 28
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random, split: str) -> Problem:
        if split not in SPLITS:
            raise ValueError(f"{split!r} is no split; there are {', '.join(SPLITS)}")
        own = [region for region in regions() if region.split == split]
        for attempt in range(ATTEMPTS):  # not every choice can be asked about, nor fits
            if attempt % PATIENCE == 0:
                family = rng.choice([*FAMILIES])
                region = rng.choice(own)
            problem = self._problem(rng, region, family)
            if problem is not None:
                return problem
        raise ValueError(f"no objects of {split} fit on {self.width}×{self.height} px")

    def _problem(self, rng: Random, region: Region, family: str) -> Problem | None:
        least, most, ask = FAMILIES[family]
        count = least + round((most - least) * rng.random() * self.difficulty)
        if count > len(region.names):
            return None
        asked = rng.sample(range(len(region.names)), count)
        crop = self._crop(rng, region, asked)
        if crop is None:
            return None
        things = [self._thing(region, crop, n, place) for place, n in enumerate(asked)]
        if any(min(thing.width, thing.height) < LEAST for thing in things):
            return None
        letters = _letters(crop.size, things) if region.photograph.noun else ()
        across, down = (region.photograph.exact * scale for scale in crop.scale)
        said = ask(rng, View(tuple(things), self.difficulty, self.wording, (across, down)))
        if said is None or letters is None:
            return None
        pixels = crop.cut(pixels_of(region.photograph))
        if letters:
            said = said._replace(question=say(rng, self.wording, LEADS) + said.question)
            _write(pixels, things, letters)
        facts = {
            "photograph": region.photograph.name,
            "asked": [family, *asked],
            **crop.facts(),
        }
        lines = [op for step in said.gold for op in step.ops if isinstance(op, Line)]
        marks: list[Op] = [*(thing.box for thing in things), *_rest(region, crop, asked), *lines]
        return posed("objects", self.difficulty, pixels, said, marks, facts)

    def _crop(self, rng: Random, region: Region, asked: Sequence[int]) -> Crop | None:
        """A window around what is asked about; None if it does not fit."""
        shown = [region.boxes[n] for n in {*asked, *_twins(region, asked)}]
        left, top = (min(box[0][axis] for box in shown) for axis in (0, 1))
        right, bottom = (max(box[1][axis] for box in shown) for axis in (0, 1))
        reach = rng.random()  # of what there is around: near views are as frequent as wide ones
        (low_x, low_y), (high_x, high_y) = region.window

        def grown(edge: int, end: int) -> int:
            return edge + round((end - edge) * reach * rng.random())

        window = (
            Point(grown(left, low_x), grown(top, low_y)),
            Point(grown(right, high_x), grown(bottom, high_y)),
        )
        across, down = window[1].x - window[0].x, window[1].y - window[0].y
        if max(across, down) > FLAT * min(across, down):
            return None
        size = fitted(window, Size(self.width, self.height), self.unit)
        sideways, upside = (
            allowed and rng.random() < 0.5 for allowed in region.photograph.mirrored
        )
        return Crop(window, size, (sideways, upside), some_tone(rng)) if size else None

    def _thing(self, region: Region, crop: Crop, n: int, place: int) -> Thing:
        noun = region.photograph.noun
        name = f"{noun} {LETTERS[place]}" if noun else _name(region, crop, n)
        ends = [crop.place(*corner) for corner in region.boxes[n]]
        (left, right), (top, bottom) = (sorted(axis) for axis in zip(*ends, strict=True))
        return Thing(
            name=name,
            called=name if noun else f"the {name}",
            sided="{" in region.names[n],
            box=Box(1, crop.box(region.boxes[n]), name),
            ends=((left, right), (top, bottom)),
        )


def _name(region: Region, crop: Crop, n: int) -> str:
    left, right = ("right", "left") if crop.mirrored[0] else ("left", "right")
    return region.names[n].format(left=left, right=right)


def _twins(region: Region, asked: Sequence[int]) -> list[int]:
    """What lies on the other side: an eye is the left one only where both are in view."""
    sided = [region.names[n] for n in asked if "{" in region.names[n]]
    return [region.names.index(name.format(left="{right}", right="{left}")) for name in sided]


def _rest(region: Region, crop: Crop, asked: Sequence[int]) -> list[Box]:
    """The other objects that are in view as a whole."""
    rest = []
    for n, box in enumerate(region.boxes):
        needed = [region.boxes[twin] for twin in _twins(region, [n])]
        if n in asked or not all(_holds(crop.window, other) for other in (box, *needed)):
            continue
        around = crop.box(box)
        if geometry.area(around):  # else it is too small to be seen
            rest.append(Box(1, around, region.photograph.noun or _name(region, crop, n)))
    return rest


def _holds(window: Corners, box: Corners) -> bool:
    return geometry.bounds((window[0], box[0])) == (window[0], box[0]) and geometry.bounds(
        (box[1], window[1])
    ) == (box[1], window[1])


def _tall(size: Size) -> int:
    """The height of a letter, px."""
    return max(9, min(14, min(size) // 20))


def _letters(size: Size, things: Sequence[Thing]) -> tuple[Point, ...] | None:
    """Where a letter goes beside each thing; None if there is no room for one of them."""
    radius = round(0.75 * _tall(size)) + 1
    taken = [thing.box.p for thing in things]
    places = []
    for thing in things:
        (left, top), (right, bottom) = thing.box.p
        x, y = thing.centre
        spots = (x, top - radius), (x, bottom + radius), (left - radius, y), (right + radius, y)
        for spot in spots:
            disc = _around(Point(*spot), radius)
            free = all(geometry.iou(disc, other) == 0 for other in taken)
            if free and geometry.clip_box(disc, size) == disc:
                break
        else:
            return None
        taken.append(disc)
        places.append(Point(*spot))
    return tuple(places)


def _write(pixels: Pixels, things: Sequence[Thing], places: Sequence[Point]) -> None:
    """Draws the letters, in place, each with a line to the middle of its thing: near others alone
    it could be mistaken for one of theirs."""
    for thing, place in zip(things, places, strict=True):
        cv2.line(pixels, place, thing.centre, YELLOW, 1, cv2.LINE_AA)
    for letter, (x, y) in zip(LETTERS, places, strict=False):
        badge(pixels, letter, x, y, _tall(size_of(pixels)))


def _around(middle: Point, radius: int) -> Corners:
    x, y = middle
    return Point(x - radius, y - radius), Point(x + radius, y + radius)
