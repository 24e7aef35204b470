"""Alignment: what the extended arrow hits, which point is on the line of two others, on which side
of a line points lie. The answer needs an auxiliary line, and the gold solution draws it.

Difficulty turns the number of points (4 to 9), how short the arrow is, and how close a call it is.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

import cv2

from pipeline import geometry
from pipeline.images import Pixels
from pipeline.tasks import Wording
from pipeline.tasks.phrasing import lettered, listed, say
from pipeline.tasks.posed import Asked, posed
from pipeline.tasks.shapes import caption, paper
from pipeline.types import Box, Line, Op, Point, Problem, Step

ATTEMPTS = 4000
NAMES = "123456789"  # no letters: those are for options
DOT, ARROW, INK = (50, 50, 60), (200, 60, 40), (40, 60, 160)
RADIUS = 3  # of a dot, px

HIT = (
    "Which point does the arrow hit when it is extended straight ahead?",
    "Extend the arrow beyond its tip. Which of the points lies on it?",
    "The arrow flies straight on. Which point does it reach?",
    "If the arrow were longer, at which point would it arrive?",
    "Towards which point does the arrow aim?",
)
BETWEEN = (
    "Which point lies on the straight line through {first} and {second}?",
    "One more point is in line with {first} and {second}. Which one?",
    "{first}, {second} and which other point lie on one straight line?",
    "Draw the line through {first} and {second}: which point does it pass through as well?",
    "Find the point that is collinear with {first} and {second}.",
)
ABOVE = (
    "How many points lie above the straight line through {first} and {second}?",
    "Count the points above the line through {first} and {second}.",
    "The line through {first} and {second} divides the picture. How many points are above it?",
    "What is the number of points higher up than the line through {first} and {second}?",
    "Seen from the line that joins {first} and {second}, how many points lie above?",
)
EXTEND = (
    "I extend the arrow beyond its tip with a line.",
    "Let me draw the arrow's direction on, to see what it meets.",
    "An auxiliary line from the arrow's tail through its tip will tell.",
)
JOIN = (
    "I draw the line through {first} and {second} across the picture.",
    "Let me join {first} and {second} and extend the line.",
    "An auxiliary line through {first} and {second} will tell.",
)
MARK = (
    "Now I box the points above it: {named}.",
    "Above the line lie {named}; I mark them.",
    "I put boxes around {named}, which are above the line.",
)

Spot = tuple[float, float]
Arrow = tuple[Spot, Spot]  # tail and tip
Found = tuple[Asked, Arrow | None]


@dataclass(frozen=True)
class Alignment:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random) -> Problem:
        family = rng.choice([*FAMILIES])
        count = 4 + round(rng.uniform(0, 5) * self.difficulty)
        for _ in range(ATTEMPTS):
            points = self._points(rng, count)
            if len(points) == count and (found := FAMILIES[family](self, rng, points)):
                break
        else:
            raise ValueError(f"no {family} of {count} points on {self.width}×{self.height} px")
        asked, arrow = found
        pixels = _draw(rng, self.width, self.height, points, arrow)
        marks, facts = (
            [_box(n, at) for n, at in enumerate(points)],
            {"points": points, "arrow": arrow},
        )
        return posed("alignment", self.difficulty, pixels, asked, marks, facts)

    @property
    def _side(self) -> int:
        return min(self.width, self.height)

    @property
    def _margin(self) -> float:
        """How far from the line every point stays that is not on it, px."""
        return max(5.0, self._side * (0.1 - 0.06 * self.difficulty))

    def _points(self, rng: Random, count: int) -> list[Spot]:
        """Points apart from each other and from the edge, so that their names can be read."""
        points: list[Spot] = []
        for _ in range(40 * count):
            spot = self._spot(rng)
            if all(math.dist(spot, other) > 0.14 * self._side for other in points):
                points.append(spot)
            if len(points) == count:
                break
        return points

    def _spot(self, rng: Random) -> Spot:
        return round(rng.uniform(14, self.width - 15), 1), round(
            rng.uniform(14, self.height - 15), 1
        )

    def _clear(self, line: tuple[Spot, Spot], others: Sequence[Spot]) -> bool:
        return all(abs(_off(line, spot)) >= self._margin for spot in others)

    def _across(self, line: tuple[Spot, Spot]) -> tuple[Point, Point]:
        """The whole of a line within the picture, from left to right, or top to bottom."""
        (x1, y1), (x2, y2) = line
        far = self.width + self.height
        length = math.dist(*line)
        dx, dy = (x2 - x1) / length, (y2 - y1) / length
        stretched = (
            Point(round(x1 - far * dx), round(y1 - far * dy)),
            Point(round(x2 + far * dx), round(y2 + far * dy)),
        )
        inside, a, b = cv2.clipLine((0, 0, self.width, self.height), *stretched)
        assert inside, f"{line} does not cross {self.width}×{self.height}"
        first, last = sorted((Point(*a), Point(*b)))
        return first, last

    def hit(self, rng: Random, points: list[Spot]) -> Found | None:
        """The point on the straight continuation of an arrow."""
        goal, tail = rng.randrange(len(points)), self._spot(rng)
        end = points[goal]
        whole = math.dist(tail, end)
        length = self._side * (0.3 - 0.14 * self.difficulty)
        if whole < length + 0.2 * self._side:
            return None
        share = length / whole
        tip = tuple(round(a + share * (b - a), 1) for a, b in zip(tail, end, strict=True))
        arrow = (tail, (tip[0], tip[1]))
        others = [spot for n, spot in enumerate(points) if n != goal]
        if not self._clear((tail, end), others) or min(math.dist(tail, p) for p in points) < 20:
            return None
        wrong = [name for n, name in enumerate(NAMES[: len(points)]) if n != goal]
        options, answer = lettered(rng, NAMES[goal], rng.sample(wrong, 3))
        line = Line(1, (_rounded(tail), _rounded(end)), "arrow, extended")
        gold = (Step(say(rng, self.wording, EXTEND), (line,)),)
        ends = f"The extended arrow meets {NAMES[goal]}."
        return (Asked(say(rng, self.wording, HIT), answer, options, gold, ends), arrow)

    def between(self, rng: Random, points: list[Spot]) -> Found | None:
        """The one point that is in line with two others: it is moved there."""
        first, second, third = rng.sample(range(len(points)), 3)
        line, share = (points[first], points[second]), rng.uniform(-1.2, 2.2)
        (x1, y1), (x2, y2) = line
        moved = (round(x1 + share * (x2 - x1), 1), round(y1 + share * (y2 - y1), 1))
        inside = 14 <= moved[0] <= self.width - 15 and 14 <= moved[1] <= self.height - 15
        rest = [spot for n, spot in enumerate(points) if n not in (first, second, third)]
        near = min(math.dist(moved, points[n]) for n in range(len(points)) if n != third)
        if not inside or near < 0.14 * self._side or not self._clear(line, rest):
            return None
        points[third] = moved
        said = {"first": NAMES[first], "second": NAMES[second]}
        wrong = [NAMES[n] for n in range(len(points)) if n not in (first, second, third)]
        options, answer = lettered(rng, NAMES[third], rng.sample(wrong, min(3, len(wrong))))
        gold = (self._joined(rng, line, said),)
        ends = f"The line through {said['first']} and {said['second']} meets {NAMES[third]}."
        return (Asked(say(rng, self.wording, BETWEEN, **said), answer, options, gold, ends), None)

    def above(self, rng: Random, points: list[Spot]) -> Found | None:
        """How many points lie above the line through two others, which is not too steep."""
        first, second = rng.sample(range(len(points)), 2)
        line = (points[first], points[second])
        rest = [n for n in range(len(points)) if n not in (first, second)]
        across, down = (abs(a - b) for a, b in zip(*line, strict=True))
        if down > 1.2 * across or not self._clear(line, [points[n] for n in rest]):
            return None
        up = [n for n in rest if points[n][1] < _height(line, points[n][0])]
        said = {"first": NAMES[first], "second": NAMES[second]}
        gold = [self._joined(rng, line, said)]
        if up:
            named = listed([NAMES[n] for n in up])
            boxes = tuple(_box(n, points[n]) for n in up)
            gold.append(Step(say(rng, self.wording, MARK, named=named), boxes))
        ends = f"{len(up)} {'point lies' if len(up) == 1 else 'points lie'} above the line."
        asked = say(rng, self.wording, ABOVE, **said)
        return (Asked(asked, str(len(up)), (), tuple(gold), ends), None)

    def _joined(self, rng: Random, line: tuple[Spot, Spot], said: dict[str, str]) -> Step:
        label = f"line {said['first']}{said['second']}"
        mark: Op = Line(1, self._across(line), label)
        return Step(say(rng, self.wording, JOIN, **said), (mark,))


FAMILIES: dict[str, Callable[[Alignment, Random, list[Spot]], Found | None]] = {
    "hit": Alignment.hit,
    "between": Alignment.between,
    "above": Alignment.above,
}


def _off(line: tuple[Spot, Spot], spot: Spot) -> float:
    """The distance of a point from a straight line without ends, px."""
    (x1, y1), (x2, y2) = line
    return ((x2 - x1) * (spot[1] - y1) - (y2 - y1) * (spot[0] - x1)) / math.dist(*line)


def _height(line: tuple[Spot, Spot], x: float) -> float:
    (x1, y1), (x2, y2) = line
    return y1 + (x - x1) * (y2 - y1) / (x2 - x1)


def _rounded(spot: Spot) -> Point:
    return Point(round(spot[0]), round(spot[1]))


def _box(n: int, spot: Spot) -> Box:
    x, y = _rounded(spot)
    return Box(1, (Point(x - 6, y - 6), Point(x + 6, y + 6)), NAMES[n])


def _draw(
    rng: Random, width: int, height: int, points: Sequence[Spot], arrow: tuple[Spot, Spot] | None
) -> Pixels:
    pixels = paper(rng, width, height)
    if arrow is not None:
        tail, tip = map(_rounded, arrow)
        share = min(0.5, 7 / geometry.distance(tail, tip))
        cv2.arrowedLine(pixels, tail, tip, ARROW, 2, cv2.LINE_AA, 0, share)
    for n, spot in enumerate(points):
        centre = _rounded(spot)
        cv2.circle(pixels, centre, RADIUS, DOT, -1, cv2.LINE_AA)
        beside = 9 if centre.x < width - 20 else -9
        caption(pixels, NAMES[n], Point(centre.x + beside, centre.y - 7), 12, INK)
    return pixels
