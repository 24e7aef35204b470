"""Figures that come and go in the frames of a video: when, by which way, and where they are seen.

Frames go by their index from 0. A figure is there in whole frames only: it comes out from behind a
door or over an edge, or is just there, and is gone in the frame after its last. While there, it
shows at least three quarters of itself, and touches no other figure and no door.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import NamedTuple

import cv2

from pipeline import geometry
from pipeline.images import Pixels
from pipeline.tasks.shapes import COLOURS, Figure, bounding_box, caption, fill, paper
from pipeline.types import Box, Point, Size

FRAMES = 16
LATEST = 11  # a figure is there for the first time by this frame
EDGES = ("left", "right", "top", "bottom")
REGIONS = ("top left", "top right", "bottom left", "bottom right")
DOOR, RIM, DIGIT = (72, 66, 64), (35, 32, 31), (255, 255, 255)

Spot = tuple[float, float]  # the middle of a figure, px
Span = tuple[int, int]  # first and last frame of a visit
World = StrEnum("World", ["OPEN", "EDGES", "DOORS"])


class Visit(NamedTuple):
    first: int
    spots: tuple[Spot, ...]  # frame by frame

    @property
    def last(self) -> int:
        return self.first + len(self.spots) - 1


@dataclass(frozen=True, slots=True)
class Guest:
    """A figure and its visits, one or two."""

    colour: str
    form: str
    radius: float
    visits: tuple[Visit, ...]

    @property
    def name(self) -> str:
        return f"{self.colour} {self.form}"

    @property
    def first(self) -> int:
        return self.visits[0].first

    @property
    def last(self) -> int:
        return self.visits[-1].last

    def at(self, frame: int) -> Figure | None:
        for visit in self.visits:
            if visit.first <= frame <= visit.last:
                x, y = visit.spots[frame - visit.first]
                return Figure(self.colour, self.form, x, y, self.radius, 0.0)
        return None


def timeline(rng: Random, count: int, returning: int, gap: int) -> list[tuple[Span, ...]] | None:
    """When each of some figures is there, in no order; None if that did not work out.

    No two come for the first time within less than ``gap`` frames, and no two are seen for the
    last time in the same frame but the very last; at least three are gone before it.

    Args:
        returning: how many come a second time.
    """
    slots = sorted(rng.sample(range(LATEST + 1 - (count - 1) * (gap - 1)), count))
    firsts = [slot + n * (gap - 1) for n, slot in enumerate(slots)]
    again = rng.sample(firsts[: max(returning, count - 2)], returning)  # who comes early returns
    spans = [_spans(rng, first, first in again) for first in firsts]
    gone = [visits[-1][1] for visits in spans if visits[-1][1] < FRAMES - 1]
    late = any(visits[-1][0] >= FRAMES - 1 for visits in spans)
    if late or len(gone) < 3 or len(set(gone)) < len(gone):
        return None
    return rng.sample(spans, count)


def _spans(rng: Random, first: int, again: bool) -> tuple[Span, ...]:
    if not again:
        return ((first, min(FRAMES - 1, first + rng.randint(1, 6))),)
    last = first + rng.randint(1, 2)
    back = last + rng.randint(2, 3)
    return (first, last), (back, min(FRAMES - 1, back + rng.randint(1, 4)))


@dataclass(frozen=True, slots=True)
class Room:
    """Where figures come and go."""

    size: Size
    world: World
    doors: tuple[tuple[Point, Point], ...] = ()  # numbered from 1

    @property
    def exits(self) -> tuple[str, ...]:
        """Where a figure may be seen last."""
        if self.world is World.DOORS:
            return tuple(f"door {n}" for n in range(1, len(self.doors) + 1))
        return EDGES if self.world is World.EDGES else REGIONS

    def place(self, rng: Random, place: str, radius: float) -> Spot:
        """Somewhere at an exit, for a figure that is about to go or has just come."""
        wide, tall = self.size
        if self.world is World.DOORS:
            (x1, y1), (x2, y2) = self.doors[int(place.split()[1]) - 1]
            dx, dy = rng.choice(((-1, 0), (1, 0), (0, 1), (0, -1)))
            x = (x1 + x2) / 2 + dx * ((x2 - x1) / 2 + radius + 2)
            return x, (y1 + y2) / 2 + dy * ((y2 - y1) / 2 + radius + 2)
        if self.world is World.EDGES:
            along, over = rng.uniform(0.25, 0.75), 0.6 * radius
            return {
                "left": (over, along * tall),
                "right": (wide - over, along * tall),
                "top": (along * wide, over),
                "bottom": (along * wide, tall - over),
            }[place]
        x = rng.uniform(radius + 2, max(radius + 2, 0.5 * wide - 1.5 * radius))
        y = rng.uniform(radius + 2, max(radius + 2, 0.5 * tall - 1.5 * radius))
        return (wide - x if "right" in place else x), (tall - y if "bottom" in place else y)

    def inside(self, rng: Random, radius: float) -> Spot:
        edge = radius + 2
        return tuple(rng.uniform(edge, side - edge) for side in self.size)  # type: ignore[return-value]

    def route(
        self, rng: Random, span: Span, ways: tuple[str, str | None], radius: float
    ) -> Visit | None:
        """From one exit to another, or to anywhere inside; None if a door is in the way."""
        start = self.place(rng, ways[0], radius)
        end = self.inside(rng, radius) if ways[1] is None else self.place(rng, ways[1], radius)
        legs, bend = span[1] - span[0], rng.uniform(-0.15, 0.15)
        spots = []
        for n in range(legs + 1):
            part = n / legs
            off = 4 * bend * part * (1 - part)
            x = start[0] + part * (end[0] - start[0]) - off * (end[1] - start[1])
            y = start[1] + part * (end[1] - start[1]) + off * (end[0] - start[0])
            spots.append((round(x, 1), round(y, 1)))
        visit = Visit(span[0], tuple(spots))
        return visit if all(self._free(spot, radius) for spot in spots) else None

    def _free(self, spot: Spot, radius: float) -> bool:
        edge = 0.55 * radius if self.world is World.EDGES else radius + 1
        if not all(edge <= c <= side - edge for c, side in zip(spot, self.size, strict=True)):
            return False
        return all(_gap(spot, door) > radius + 1 for door in self.doors)

    def box(self, guest: Guest, frame: int) -> Box:
        """Around what can be seen of a figure in a frame in which it is there."""
        figure = guest.at(frame)
        assert figure is not None
        around = geometry.clip_box(bounding_box(figure.points), self.size)
        return Box(frame + 1, around, guest.name)

    def paint(self, rng: Random, guests: Sequence[Guest]) -> Iterator[Pixels]:
        ground = paper(rng, *self.size)
        for number, (top_left, bottom_right) in enumerate(self.doors, start=1):
            (x1, y1), (x2, y2) = top_left, bottom_right
            cv2.rectangle(ground, (x1, y1), (x2 - 1, y2 - 1), DOOR, -1)
            cv2.rectangle(ground, (x1, y1), (x2 - 1, y2 - 1), RIM, 1)
            middle = Point((x1 + x2) // 2, (y1 + y2) // 2)
            caption(ground, str(number), middle, max(9, (y2 - y1) // 2), DIGIT)
        for frame in range(FRAMES):
            pixels = ground.copy()
            for figure in filter(None, (guest.at(frame) for guest in guests)):
                fill(pixels, figure.points, COLOURS[figure.colour])
            yield pixels


def furnished(rng: Random, size: Size, world: World) -> Room:
    """A room, with four doors if it is a world of doors: two by two, or in a row if it is long."""
    if world is not World.DOORS:
        return Room(size, world)
    ratio, doors = size.width / size.height, []
    columns = 4 if ratio > 2.5 else 1 if ratio < 0.4 else 2
    cell = size.width / columns, size.height / (4 // columns)
    wide, tall = round(0.26 * min(cell)), round(0.36 * min(cell))
    for n in range(4):
        x = round((n % columns + 0.5 + rng.uniform(-0.08, 0.08)) * cell[0] - wide / 2)
        y = round((n // columns + 0.5 + rng.uniform(-0.08, 0.08)) * cell[1] - tall / 2)
        doors.append((Point(x, y), Point(x + wide, y + tall)))
    rng.shuffle(doors)
    return Room(size, world, tuple(doors))


def apart(guests: Sequence[Guest], visit: Visit, radius: float) -> bool:
    """Whether a visit keeps off all other figures while they are there."""
    for frame, (x, y) in enumerate(visit.spots, start=visit.first):
        for other in guests:
            figure = other.at(frame)
            if figure and math.hypot(figure.x - x, figure.y - y) < 1.05 * (
                figure.radius + radius + 2
            ):
                return False
    return True


def _gap(spot: Spot, door: tuple[Point, Point]) -> float:
    """px from a spot to a door."""
    dx = max(door[0].x - spot[0], 0, spot[0] - door[1].x)
    dy = max(door[0].y - spot[1], 0, spot[1] - door[1].y)
    return math.hypot(dx, dy)
