"""Straight spans on a picture: as two dots or as a segment that may wear fins, and a scale bar."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import cv2

from pipeline import geometry
from pipeline.images import Pixels
from pipeline.tasks.shapes import COLOURS, Figure, caption, fill
from pipeline.types import Line, Op, Point

FIN = 0.75  # radians between a fin and its segment
INK = (40, 40, 50)

Span = tuple[Point, Point]


class Scale(NamedTuple):
    bar: Span
    value: int
    unit: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is on the picture: spans by colour, as dots or as segments, a scale bar, figures."""

    spans: dict[str, Span] = field(default_factory=dict)
    dots: bool = False  # a span shows only its ends
    fins: dict[str, int] = field(default_factory=dict)  # 1 outward, -1 inward, 0 none
    scale: Scale | None = None
    figures: tuple[Figure, ...] = ()


def pen(side: int) -> int:
    """How thick segments are, px."""
    return max(2, side // 75)


def fin(side: int) -> int:
    """How long fins are, px."""
    return max(5, side // 22)


def pieces(span: Span, times: float, labels: Sequence[str]) -> tuple[Op, ...]:
    """Lines end to end along a span, each a ``times``-th of it long, the last perhaps shorter."""
    (x1, y1), (x2, y2) = span
    shares = [min(1.0, n / times) for n in range(len(labels) + 1)]
    ends = [Point(round(x1 + s * (x2 - x1)), round(y1 + s * (y2 - y1))) for s in shares]
    return tuple(Line(1, p, label) for p, label in zip(pairwise(ends), labels, strict=True))


def apart(a: Span, b: Span, gap: float) -> bool:
    """Whether two segments neither cross nor come closer than ``gap`` px."""
    if _turns(*a, b[0]) != _turns(*a, b[1]) and _turns(*b, a[0]) != _turns(*b, a[1]):
        return False
    near = [geometry.distance_to_segment(*end, b) for end in a]
    return min(*near, *(geometry.distance_to_segment(*end, a) for end in b)) >= gap


def _turns(a: Point, b: Point, c: Point) -> bool:
    """Whether the way from a over b to c turns to the right."""
    return (b.x - a.x) * (c.y - a.y) > (b.y - a.y) * (c.x - a.x)


def draw(pixels: Pixels, sheet: Sheet) -> Pixels:
    side = min(pixels.shape[:2])
    for colour, span in sheet.spans.items():
        if sheet.dots:
            for end in span:
                cv2.circle(pixels, end, pen(side) + 2, COLOURS[colour], -1, cv2.LINE_AA)
            continue
        cv2.line(pixels, *span, COLOURS[colour], pen(side), cv2.LINE_AA)
        for start, end in _fins(span, sheet.fins.get(colour, 0), fin(side)):
            cv2.line(pixels, start, end, COLOURS[colour], max(1, pen(side) - 1), cv2.LINE_AA)
    for figure in sheet.figures:
        fill(pixels, figure.points, COLOURS[figure.colour])
    if sheet.scale:
        (x1, y), (x2, _) = sheet.scale.bar
        cv2.line(pixels, (x1, y), (x2, y), INK, 2)
        for x in (x1, x2):
            cv2.line(pixels, (x, y - 4), (x, y + 4), INK, 1)
        said = f"{sheet.scale.value} {sheet.scale.unit}"
        caption(pixels, said, Point((x1 + x2) // 2, y - 13), 11, INK)
    return pixels


def _fins(span: Span, worn: int, length: int) -> list[Span]:
    """Two strokes at each end: away from the segment (1), back along it (-1), or none."""
    (x1, y1), (x2, y2) = span
    ahead = math.atan2(y2 - y1, x2 - x1)
    strokes = []
    for end, outward in ((span[0], ahead + math.pi), (span[1], ahead)):
        for slant in (-FIN, FIN) if worn else ():
            turn = outward + slant + (0 if worn > 0 else math.pi)
            tip = (end.x + length * math.cos(turn), end.y + length * math.sin(turn))
            strokes.append((end, Point(round(tip[0]), round(tip[1]))))
    return strokes
