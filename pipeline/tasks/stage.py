"""A scene of solids on a floor, the cameras around it, and what to mark in their pictures: what
tasks of several views have in common.

Views and solids go by their index from 0.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

import cv2
import numpy as np

from pipeline.images import Pixels
from pipeline.tasks.painting import floor, paint, tag
from pipeline.tasks.solids import FORMS, SIZES, Camera, Shot, Solid, Vector, cast
from pipeline.types import Box, Line, Op, Point, Size

LEAST_VISIBLE = 0.5  # of each solid in each picture, what tags hide included
WIDTH, EYE = 80, 1.7  # of a camera among solids: degrees of its picture, units above the floor
GAP = 23  # degrees between solids around a camera: more than two of them are wide
SMOOTH_BELOW = 300_000  # px; larger pictures get one sample a pixel instead of four


class Clue(NamedTuple):
    """Words that single out a solid in a scene, and the landmark that they go by, if any."""

    text: str
    landmark: int | None = None
    too: str = ""  # for a sentence that marks the landmark as well


class Around(NamedTuple):
    """A box to draw around a solid in a view."""

    view: int
    solid: int


class Along(NamedTuple):
    """A line to draw from foot to foot; without a start, from the picture's bottom centre."""

    view: int
    start: int | None
    end: int


Marks = list[Around | Along]
Shots = list[tuple[Shot, Pixels]]
Tags = Sequence[tuple[int, int, str]]  # view, solid, text


@dataclass(frozen=True, slots=True)
class Stage:
    """A scene and who looks at it."""

    solids: tuple[Solid, ...]
    cameras: tuple[Camera, ...]
    light: Vector

    def framed(self, size: Size) -> "Stage":
        """With every camera zoomed in on the solids."""
        return replace(self, cameras=tuple(c.fitted(self.solids, size) for c in self.cameras))

    def distance(self, view: int, solid: int) -> float:
        """Units from a camera to the middle of a solid."""
        return math.dist(self.cameras[view].eye, self.solids[solid].middle)

    def sideways(self, view: int, solid: int) -> float:
        """How far right a solid is in a picture, in units at the distance of the scene's middle."""
        camera = self.cameras[view]
        x = float(camera.project([self.solids[solid].middle])[0, 0]) - camera.centre[0]
        return x / camera.focal * math.dist(camera.eye, camera.target)

    def foot(self, view: int, solid: int) -> Point:
        x, y = self.cameras[view].project([self.solids[solid].foot])[0]
        return Point(round(x), round(y))

    def alike(self, solid: int, *traits: str) -> list[int]:
        """The other solids with the same traits."""
        mine = [getattr(self.solids[solid], t) for t in traits]
        same = ([getattr(s, t) for t in traits] == mine for s in self.solids)
        return [n for n, yes in enumerate(same) if yes and n != solid]

    def clue(self, solid: int, margin: float) -> Clue | None:
        """What tells a solid from all others; None if nothing does by ``margin`` units."""
        it = self.solids[solid]
        if not self.alike(solid, "colour", "form"):
            return Clue(f"{it.colour} {it.form}")
        look = f"{it.size} {it.colour} {it.form}"
        twins = self.alike(solid, "size", "colour", "form")
        if not twins:
            return Clue(look)
        for n, landmark in enumerate(self.solids):
            if n == solid or self.alike(n, "colour", "form"):
                continue
            own, *others = (math.dist(landmark.foot, self.solids[m].foot) for m in (solid, *twins))
            name = f"{landmark.colour} {landmark.form}"
            too = f", and the {name} to go by"
            if own + margin <= min(others):
                return Clue(f"{look} nearest to the {name}", n, too)
            if own - margin >= max(others):
                return Clue(f"{look} farthest from the {name}", n, too)
        return None

    def names(self) -> dict[int, str]:
        """A label for every solid that no other has: its look, numbered if others look the same."""
        names = {}
        for n, it in enumerate(self.solids):
            names[n] = f"{it.colour} {it.form}"
            if self.alike(n, "colour", "form"):
                names[n] = f"{it.size} {names[n]}"
                if twins := self.alike(n, "size", "colour", "form"):
                    names[n] += f" {1 + sum(m < n for m in twins)}"
        return names

    def numbers(self) -> dict[str, Any]:
        """All that the bare pictures follow from: units, radians, and px for lenses."""
        return {
            "solids": [
                [s.form, s.colour, s.size, s.x, s.y, s.turn, round(s.radius, 4), round(s.height, 4)]
                for s in self.solids
            ],
            "cameras": [[c.eye, c.target, c.roll, c.focal, c.centre] for c in self.cameras],
            "light": self.light,
        }


def surrounded(
    rng: Random, looks: Sequence[tuple[str, str, str]], views: int, difficulty: float
) -> Stage | None:
    """Solids of these looks (form, colour, size) at random places, and cameras around them that
    still have to be framed; None if not all solids find a place."""
    solids: list[Solid] = []
    reach = 1.2 + 0.17 * len(looks)
    for form, colour, size in looks:
        for _ in range(40):
            away, angle = reach * math.sqrt(rng.random()), rng.uniform(0, math.tau)
            x, y = round(away * math.cos(angle), 2), round(away * math.sin(angle), 2)
            room = (1.2 * (SIZES[size] + SIZES[s.size]) for s in solids)
            if all(math.dist((x, y), (s.x, s.y)) > r for s, r in zip(solids, room, strict=True)):
                turn = round(rng.uniform(0, math.pi / 2), 2)
                solids.append(Solid(form, colour, size, x, y, turn))
                break
        else:
            return None
    arc = rng.uniform(30, 50) + 95 * difficulty  # degrees
    first, lit = rng.uniform(0, 360), rng.uniform(0, math.tau)
    turns = [first + arc * n / (views - 1) for n in range(views)]
    rng.shuffle(turns)
    return Stage(
        tuple(solids),
        tuple(_camera(rng, turn, reach + 0.6, difficulty) for turn in turns),
        lit_from(lit),
    )


def within(
    rng: Random, looks: Sequence[tuple[str, str, str]], headings: Sequence[int], size: Size
) -> Stage | None:
    """Solids around a camera that turns on the spot, one picture for each heading.

    No solid hides another. The camera sees at least `WIDTH` degrees, and neighbouring pictures,
    which must be less than 55° apart, both show all of some solid.

    Args:
        looks: (form, colour, size) of the solids; the first belong to neighbouring pictures.
        headings: of the camera, degrees to the left of the x axis, falling: it turns right.

    Returns:
        the scene; None if not all solids find a place.
    """
    focal = lens(size)
    half = math.degrees(math.atan(size.width / 2 / focal))
    links = [(a + b) / 2 for a, b in pairwise(headings)]
    shared = [half - (a - b) / 2 for a, b in pairwise(headings)]  # from a link's middle
    first, last = headings[0] + half, max(headings[-1] - half, headings[0] + half - 330)
    solids: list[Solid] = []
    angles: list[float] = []
    for n, (form, colour, kind) in enumerate(looks):
        away = rng.uniform(3.4, 4.6)
        edge = math.degrees(math.asin(1.12 * FORMS[form][0] * SIZES[kind] / away)) + 1.5
        for _ in range(30):
            angle = rng.uniform(last + edge, first - edge)
            if n < len(links):
                angle = links[n] + rng.uniform(edge - shared[n], shared[n] - edge)
            if all(abs(angle - other) >= GAP for other in angles):
                break
        else:
            return None
        angles.append(angle)
        x, y = (round(away * f(math.radians(angle)), 2) for f in (math.cos, math.sin))
        solids.append(Solid(form, colour, kind, x, y, round(rng.uniform(0, math.pi / 2), 2)))
    centre = size.width / 2, round(size.height / 2 - 0.34 * focal, 2)
    cameras = []
    for heading in headings:
        x, y = (round(f(math.radians(heading)), 5) for f in (math.cos, math.sin))
        cameras.append(Camera((0.0, 0.0, EYE), (x, y, EYE), 0.0, focal, centre))
    return Stage(tuple(solids), tuple(cameras), lit_from(rng.uniform(0, math.tau)))


def lens(size: Size) -> float:
    """px; of a camera among solids: `WIDTH` degrees, or more where a picture is so low that less
    would cut the solids off. A whole number of degrees."""
    focal = min(size.width / 2 / math.tan(math.radians(WIDTH / 2)), size.height / 0.62)
    return round(size.width / 2 / math.tan(math.radians(width_of(size, focal) / 2)), 2)


def width_of(size: Size, focal: float) -> int:
    """Degrees from the left to the right edge of a picture, as a whole number."""
    return round(2 * math.degrees(math.atan(size.width / 2 / focal)))


def lit_from(angle: float) -> Vector:
    """The way to a light that stands rather high, at an angle in radians about the vertical."""
    return (round(0.5 * math.cos(angle), 3), round(0.5 * math.sin(angle), 3), 0.866)


def _camera(rng: Random, turn: float, reach: float, difficulty: float) -> Camera:
    """A camera at ``turn`` degrees, looking at the middle of a scene of radius ``reach``."""
    height = math.radians(36 + rng.uniform(-12, 10) * difficulty)
    angle, away = math.radians(turn), reach * rng.uniform(2.5, 3.4)
    eye = (
        round(away * math.cos(height) * math.cos(angle), 2),
        round(away * math.cos(height) * math.sin(angle), 2),
        round(away * math.sin(height), 2),
    )
    roll = math.radians(rng.uniform(-10, 10) * difficulty)  # low is no longer near
    return Camera(eye, (0.0, 0.0, 0.4), round(roll, 3))


def uncrowded(stage: Stage, tags: Tags, size: Size, difficulty: float) -> Shots | None:
    """What every camera sees, with tags; None if anything is hidden more than it may be."""
    clear = 0.85 - 0.3 * difficulty
    if any(min(_peek(stage.solids, camera, size)) < clear for camera in stage.cameras):
        return None
    shots = []
    for shot, left, pixels in _taken(stage, tags, size):
        if any(left.visible(n) < LEAST_VISIBLE for n in range(len(stage.solids))):
            return None
        shots.append((shot, pixels))
    return shots


def _peek(solids: Sequence[Solid], camera: Camera, size: Size) -> list[float]:
    """About what share of each solid can be seen, 0..1: outlines painted from far to near.

    A hundred times as fast as `cast`, and good enough to turn most crowded scenes down.
    """
    scale = 224 / min(size)
    picture = np.zeros((math.ceil(size.height * scale), math.ceil(size.width * scale)), np.uint8)
    outlines = {}
    for n in sorted(range(len(solids)), key=lambda n: -math.dist(camera.eye, solids[n].middle)):
        spots = np.round(camera.project(solids[n].hull) * scale).astype(np.int32)
        outlines[n] = cv2.convexHull(spots)
        cv2.fillConvexPoly(picture, outlines[n], n + 1)
    seen = np.bincount(picture.ravel(), minlength=len(solids) + 1)
    return [float(seen[n + 1]) / cv2.contourArea(outlines[n]) for n in range(len(solids))]


def taken(stage: Stage, size: Size) -> Shots:
    """What every camera sees, whatever it is."""
    return [(shot, pixels) for shot, _, pixels in _taken(stage, (), size)]


def _taken(stage: Stage, tags: Tags, size: Size) -> Iterator[tuple[Shot, Shot, Pixels]]:
    """Of every camera what it sees, the same less what tags hide, and the picture with tags."""
    detail = 2 if size.width * size.height < SMOOTH_BELOW else 1
    ground = floor(stage.solids, stage.light, min(96, max(24, min(size) // 6)))
    for view, camera in enumerate(stage.cameras):
        shot = cast(stage.solids, camera, size, stage.light, detail)
        pixels = paint(shot, stage.solids, camera, ground)
        left = tag(pixels, shot, {solid: text for v, solid, text in tags if v == view})
        yield shot, left, pixels


def drawn(
    mark: Around | Along, stage: Stage, shots: Shots, names: Mapping[int, str], size: Size
) -> Op:
    """The op that makes a mark on a picture of this size."""
    k = mark.view + 1
    if isinstance(mark, Around):
        return Box(k, shots[mark.view][0].box(mark.solid), names[mark.solid])
    start = Point(size.width // 2, size.height - 1)
    if mark.start is not None:
        start = stage.foot(mark.view, mark.start)
    return Line(k, (start, stage.foot(mark.view, mark.end)), f"to {names[mark.end]}")
