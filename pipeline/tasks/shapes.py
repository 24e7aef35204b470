"""Flat coloured figures that tasks scatter over a picture, and their exact bounding boxes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

import cv2
import numpy as np

from pipeline.images import Pixels
from pipeline.types import Point

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "green": (44, 140, 60),
    "blue": (40, 90, 200),
    "yellow": (240, 200, 30),
    "purple": (130, 60, 170),
    "orange": (250, 130, 20),
    "cyan": (30, 180, 200),
    "pink": (240, 120, 180),
}
FIGURES = ("circle", "square", "triangle", "diamond", "star", "cross")
WEIGHT = 600  # of letters; without one OpenCV takes the last that any text was drawn with
SHIFT = 4  # OpenCV's fixed point: coordinates in 1/16 px, so that edges are smooth


@dataclass(frozen=True, slots=True)
class Figure:
    """A flat figure on a picture, in px and radians."""

    colour: str
    form: str
    x: float
    y: float
    radius: float
    turn: float

    @property
    def name(self) -> str:
        return f"{self.colour} {self.form}"

    @property
    def points(self) -> list[tuple[float, float]]:
        return outline(self.form, self.x, self.y, self.radius, self.turn)


def scatter(
    rng: Random,
    kinds: Iterable[tuple[str, str]],
    width: int,
    height: int,
    radius: float,
    gap: float,
) -> list[Figure]:
    """Places a figure for each (colour, form), smaller as the picture fills up.

    Args:
        radius: of a figure at first, px, give or take a quarter.
        gap: least distance of two centres, in sums of their radii.

    Returns:
        the figures; those for which there is no room are left out.
    """
    figures: list[Figure] = []
    for kind in kinds:
        for attempt in range(400):
            r = max(5.0, radius * rng.uniform(0.75, 1.25) * 0.995**attempt)
            turn = rng.uniform(-0.25, 0.25) if kind[1] != "circle" else 0.0
            x = rng.uniform(r + 1, width - r - 2)
            y = rng.uniform(r + 1, height - r - 2)
            figure = Figure(*kind, round(x, 1), round(y, 1), round(r, 1), round(turn, 2))
            if all(_apart(figure, other, gap) for other in figures):
                figures.append(figure)
                break
    return figures


def _apart(a: Figure, b: Figure, gap: float) -> bool:
    return math.hypot(a.x - b.x, a.y - b.y) >= gap * (a.radius + b.radius)


def outline(
    figure: str, x: float, y: float, radius: float, turn: float
) -> list[tuple[float, float]]:
    """Corners of a figure around (x, y), px; ``turn`` in radians. A circle is a 48-gon."""
    corners, inner = {
        "circle": (48, 1.0),
        "square": (4, 1.0),
        "triangle": (3, 1.0),
        "diamond": (4, 1.0),
        "star": (10, 0.45),
        "cross": (12, 1.0),
        "bar": (4, 1.0),
    }[figure]
    points = []
    for n in range(corners):
        angle = turn + 2 * math.pi * n / corners - math.pi / 2
        reach = radius * (inner if n % 2 else 1.0)
        if figure == "square":
            angle += math.pi / 4
        elif figure == "diamond":
            reach *= 0.6 if n % 2 else 1.0  # slender: a turned square is no diamond
        elif figure == "cross":
            arm, notch = math.atan2(0.3, 0.95), math.pi / 4
            side, part = divmod(n, 3)
            angle = turn + side * math.pi / 2 + (-arm, arm, notch)[part]
            reach = radius * (math.hypot(0.3, 0.95) if part < 2 else 0.3 * math.sqrt(2))
        elif figure == "bar":
            slant = math.atan2(0.22, 1.0)
            angle = turn + n // 2 * math.pi + (slant if n % 2 else -slant)
        points.append((x + reach * math.cos(angle), y + reach * math.sin(angle)))
    return points


def fill(pixels: Pixels, points: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
    """Fills a polygon, smooth edges, with a darker rim that keeps overlapping figures apart."""
    corners = np.round(np.array(points) * (1 << SHIFT)).astype(np.int32)
    cv2.fillPoly(pixels, [corners], colour, cv2.LINE_AA, SHIFT)
    rim = (int(colour[0] * 0.6), int(colour[1] * 0.6), int(colour[2] * 0.6))
    cv2.polylines(pixels, [corners], True, rim, 1, cv2.LINE_AA, SHIFT)


def bounding_box(points: list[tuple[float, float]]) -> tuple[Point, Point]:
    """The smallest box of whole pixels around a polygon and its rim."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return (
        Point(math.floor(min(xs)), math.floor(min(ys))),
        Point(math.ceil(max(xs)) + 1, math.ceil(max(ys)) + 1),
    )


def caption(
    pixels: Pixels, text: str, centre: Point, tall: int, colour: tuple[int, int, int]
) -> None:
    """Writes a text of ``tall`` px with the middle of its ink at ``centre``."""
    font, (height, width) = cv2.FontFace("sans"), pixels.shape[:2]
    left, top, wide, high = cv2.getTextSize((width, height), text, (0, 0), font, tall, WEIGHT)
    place = (centre.x - left - wide // 2, centre.y - top - high // 2)
    cv2.putText(pixels, text, place, colour, font, tall, WEIGHT)


def paper(rng: Random, width: int, height: int) -> Pixels:
    """A light background (height, width, 3): a tint, or a soft slope from one tint to another."""
    first, second = ([rng.randint(215, 250) for _ in range(3)] for _ in range(2))
    slope = np.linspace(0, 1, height if rng.random() < 0.5 else width)
    blend = np.outer(1 - slope, first) + np.outer(slope, second)  # (side, 3)
    rows = blend[:, None, :] if len(slope) == height else blend[None, :, :]
    return np.ascontiguousarray(np.broadcast_to(rows, (height, width, 3)).astype(np.uint8))
