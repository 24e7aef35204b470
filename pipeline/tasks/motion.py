"""Motion: figures move through 16 frames; which went farthest, or how many crossed a line.

Difficulty turns the number and likeness of figures, the bends, pauses and turns back of their ways,
how close the race is, and how many come near the line or cross it and return. In the key frames,
which are the ones that gold marks, no figure touches another.
"""

import cmath
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import pairwise, product
from random import Random
from typing import ClassVar, NamedTuple

import cv2

from pipeline.geometry import Corners
from pipeline.images import Pixels, encode
from pipeline.tasks import Wording
from pipeline.tasks.phrasing import SMALL, lettered, listed, near_numbers, plural, say
from pipeline.tasks.shapes import COLOURS, FIGURES, bounding_box, fill, outline, paper
from pipeline.types import Box, Kind, Line, Modality, Op, Point, Problem, Scene, Step

FRAMES = 16
KEYS = (0, 5, 10, 15)  # 0-based; a figure that turns back does so in one of the middle two
INK = (70, 70, 70)

Route = Sequence[complex]  # a figure's centre in each frame, px, x + iy
Proposal = Callable[[float, float], Route | None]  # of a margin to the edge, px, and a shrinkage


class Ask(StrEnum):
    NET = "net"  # which got farthest from its start
    PATH = "path"  # which went the longest way
    ENDED = "ended"  # how many ended across the line
    CROSSED = "crossed"  # how many were across it at some time


class Role(StrEnum):
    """What a figure does about the line."""

    STAY = "stay"
    OVER = "over"
    RETURN = "return"


WAYS = {
    Ask.NET: (
        "from where it started to where it ended",
        "straight from its first place to its last",
    ),
    Ask.PATH: ("along its whole path", "along its path, every bend and turn back included"),
}
DEEDS = {
    Ask.ENDED: "ended on the other side of the line",
    Ask.CROSSED: "got across the line at some time",
}
QUESTIONS = {
    Ask.ENDED: (
        "How many figures end on the other side of the dashed line from where they started?",
        "How many figures are on one side of the dashed line at first and on the other at last?",
        "Compare the first and last frame: how many figures changed sides of the dashed line?",
        "How many figures cross the dashed line and are still across it in the last frame?",
        "For how many figures is the dashed line between their first and their last place?",
    ),
    Ask.CROSSED: (
        "How many figures cross the dashed line at least once, whether or not they come back?",
        "How many figures get wholly across the dashed line at some time, even if they return?",
        "Count the figures that cross the dashed line; one that crosses and returns counts once.",
        "How many figures visit the other side of the dashed line in at least one frame?",
        "How many figures are, at any moment, across the dashed line from where they started?",
    ),
}
FARTHEST = (
    "Which of these figures moved farthest {way}?",
    "Which figure moved farthest, measured {way}?",
    "One figure moved farther than all others {way}. Which one?",
    "Compare how far each figure moved {way}. Which moved farthest?",
    "Which figure covered the greatest distance {way}?",
)
TIMES = (
    "How many times as far as the {base} did the {thing} move, each measured {way}?",
    "Each figure moved some distance {way}. How many times the {base}'s is the {thing}'s?",
    "Take how far each figure moved {way}. What is the {thing}'s distance over the {base}'s?",
    "If the way of the {base} {way} counts as 1, how long is that of the {thing}?",
    "Measure each figure's move {way}. By what number is the {base}'s multiplied in the {thing}'s?",
)
PLANS = (
    "I box the {things} in the first and in the last frame.",
    "First I mark where the {things} start and where they end.",
    "To compare their ways, I find the {things} in frame 1 and in frame 16.",
)
TRACES = {
    Ask.NET: (
        "Now I draw a straight line from each start to each end on the last frame.",
        "On the last frame I connect each figure's first place with its last.",
    ),
    Ask.PATH: (
        "Now I trace each path on the last frame, through its places in frames 1, 6, 11 and 16.",
        "The ends do not tell the whole way, so I follow it through frames 1, 6, 11 and 16.",
    ),
}
WINNER = (
    "The {thing} moved about {far} pixels and the next, the {base}, {near}: it is the {thing}.",
    "About {far} pixels for the {thing} against {near} for the {base}, so the {thing} is ahead.",
)
RATIO = (
    "The {thing} moved about {far} pixels and the {base} {near}: {times} times as far.",
    "{far} pixels for the {thing}, divided by {near} for the {base}, is about {times}.",
)
LINE_PLANS = (
    "I trace the dashed line in the first and in the last frame to see the two sides.",
    "First the dashed line: I mark it where the video starts and where it ends.",
)
CROSSERS = (
    "Next I box, at its start and across the line, each figure that counts: the {things}.",
    "These {deed}: the {things}. I box each where it starts and where it is across.",
)
TALLIES = (
    "{Count} {figures} {deed}.",
    "Having followed every figure, I find that {count} {figures} {deed}.",
)


@dataclass(frozen=True, slots=True)
class Mover:
    colour: str
    form: str
    radius: float  # px
    route: Route

    @property
    def name(self) -> str:
        return f"{self.colour} {self.form}"

    def corners(self, frame: int) -> list[tuple[float, float]]:
        centre = self.route[frame]
        return outline(self.form, centre.real, centre.imag, self.radius, 0.0)

    def box(self, frame: int) -> Box:
        """Within the picture, since a route keeps more than a radius from its edges."""
        return Box(frame + 1, bounding_box(self.corners(frame)), self.name)


class Plot(NamedTuple):
    """What happens, what is asked of it and how it is found out."""

    movers: list[Mover]  # the ones the answer is about first
    question: str
    options: tuple[str, ...]
    answer: str
    gold: tuple[Step, ...]
    conclusion: str


@dataclass(frozen=True)
class Motion:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random) -> Problem:
        ask, kind = rng.choice(list(Ask)), rng.choice(list(Kind))
        line = None if ask in WAYS else self._line(rng)
        plot = self._traffic(rng, ask, kind, line) if line else self._race(rng, ask, kind)
        rng.shuffle(plot.movers)  # whoever is painted later covers the others
        ground = paper(rng, self.width, self.height)
        if line:
            _dash(ground, line)
        boxes: list[Op] = [m.box(frame) for frame in range(FRAMES) for m in plot.movers]
        lines = [op for step in plot.gold for op in step.ops if isinstance(op, Line)]
        return Problem(
            id="",
            task="motion",
            modality=Modality.VIDEO,
            images=tuple(encode(_frame(ground, plot.movers, n)) for n in range(FRAMES)),
            question=plot.question,
            options=plot.options,
            answer=plot.answer,
            kind=kind,
            difficulty=self.difficulty,
            gold=plot.gold,
            conclusion=plot.conclusion,
            scene=Scene(objects=(*boxes, *lines), geometry=_geometry(ask, plot.movers, line)),
        )

    def _race(self, rng: Random, ask: Ask, kind: Kind) -> Plot:
        times = rng.randint(15, 30) / 10  # first, so that every answer is equally likely
        movers = self._runners(rng, ask, times if kind is Kind.NUMBER else None)
        measure = MEASURES[ask]
        first, *others = movers
        second = others[0] if kind is Kind.NUMBER else max(others, key=lambda m: measure(m.route))
        facts = {
            "thing": first.name,
            "base": second.name,
            "times": f"{times:g}",
            "far": f"{measure(first.route):.1f}",
            "near": f"{measure(second.route):.1f}",
            "way": say(rng, self.wording, WAYS[ask]),
        }
        if kind is Kind.NUMBER:
            question = say(rng, self.wording, TIMES, **facts) + " Give one decimal."
            asked, options, answer = [first, second], tuple[str, ...](), facts["times"]
        else:
            question = say(rng, self.wording, FARTHEST, **facts)
            options, answer = lettered(rng, first.name, [m.name for m in others[:3]])
            asked = sorted(movers[:4], key=lambda m: options.index(m.name))
        plan = say(rng, self.wording, PLANS, things=listed([m.name for m in asked]))
        ends = tuple(m.box(frame) for frame in (0, FRAMES - 1) for m in asked)
        stops = KEYS if ask is Ask.PATH else (KEYS[0], KEYS[-1])
        ways = tuple(line for m in asked for line in _trace(m, stops))
        gold = (Step(plan, ends), Step(say(rng, self.wording, TRACES[ask]), ways))
        closings = RATIO if kind is Kind.NUMBER else WINNER
        return Plot(
            movers, question, options, answer, gold, say(rng, self.wording, closings, **facts)
        )

    def _runners(self, rng: Random, ask: Ask, times: float | None) -> list[Mover]:
        """Figures of which the first goes farthest, or ``times`` as far as the second."""
        margin = 1.32 - 0.2 * self.difficulty
        shares = [1.0, rng.uniform(0.92, 1) / margin if times is None else 1 / times]
        backs = [False, False]
        for _ in range(rng.randint(2, 2 + round(4 * self.difficulty))):
            shares.append(rng.uniform(0.35, 1) / margin)
            backs.append(rng.random() < 0.6 * self.difficulty)
        if rng.random() < self.difficulty:  # a trap: another one wins by the other measure
            if ask is Ask.PATH:
                backs[0] = True
            else:
                backs[2], shares[2] = True, rng.uniform(1.3, 1.5)
        best = min(self.width, self.height) * rng.uniform(0.6, 0.7)
        # Whoever comes back has a short net move on a long path, so its path is what is bounded.
        straight = [ask is Ask.NET and not back for back in backs]
        runs: list[Proposal] = [
            partial(self._run, rng, backs[n], straight[n], best * shares[n])
            for n in range(len(backs))
        ]
        for movers in self._layouts(rng, runs):
            far, *rest = (MEASURES[ask](m.route) for m in movers)
            if (
                far > (margin - 0.01) * max(rest)
                if times is None
                else round(far / rest[0], 1) == times
            ):
                return movers
        raise AssertionError("layouts end by raising")

    def _traffic(self, rng: Random, ask: Ask, kind: Kind, line: Corners) -> Plot:
        most = round(2 + 4 * self.difficulty)
        count = rng.randint(0, most)  # first, so that every answer is equally likely
        roles = [Role.OVER] * count + [Role.STAY] * (rng.randint(max(2, most), most + 2) - count)
        for n in range(len(roles)):
            # Whoever returns counts as one that crossed, and not as one that ended across.
            if (n < count) == (ask is Ask.CROSSED) and rng.random() < 0.6 * self.difficulty:
                roles[n] = Role.RETURN
        runs: list[Proposal] = [partial(self._by_line, rng, line, role) for role in roles]
        movers = next(self._layouts(rng, runs))
        options, answer = (), str(count)
        if kind is Kind.CHOICE:
            options, answer = lettered(rng, str(count), near_numbers(rng, count, 3, low=0))
        question = say(rng, self.wording, QUESTIONS[ask])
        word, facts = SMALL[count], {"figures": plural("figure", count), "deed": DEEDS[ask]}
        marks = tuple(Line(k, line, "dashed line") for k in (1, FRAMES))
        gold = [Step(say(rng, self.wording, LINE_PLANS), marks)]
        if count:
            crossed = movers[:count]
            boxes = [m.box(0) for m in crossed] + [m.box(_across(m.route, line)) for m in crossed]
            facts["things"] = listed([m.name for m in crossed])
            gold.append(Step(say(rng, self.wording, CROSSERS, **facts), tuple(boxes)))
        tally = say(rng, self.wording, TALLIES, count=word, Count=word.capitalize(), **facts)
        return Plot(movers, question, options, answer, tuple(gold), tally)

    def _layouts(self, rng: Random, proposals: Sequence[Proposal]) -> Iterator[list[Mover]]:
        """Figures of distinct kinds on the proposed routes, clear of each other in key frames."""
        side = min(self.width, self.height) * (0.085 - 0.02 * self.difficulty)
        for attempt in range(100):
            shrink = 0.98**attempt  # ends by fitting: figures get smaller and go less far
            # The harder, the fewer colours and forms, and so the more figures that share one.
            colours = rng.sample(list(COLOURS), round(8 - 5 * self.difficulty))
            forms = rng.sample(FIGURES, round(6 - 3 * self.difficulty))
            movers: list[Mover] = []
            kinds = rng.sample(list(product(colours, forms)), len(proposals))
            for kind, propose in zip(kinds, proposals, strict=True):
                radius = round(max(5.0, side * rng.uniform(0.9, 1.15) * shrink), 1)
                for _ in range(60):
                    if route := propose(radius + 2, shrink):
                        mover = Mover(*kind, radius, route)
                        if all(_apart(mover, other) for other in movers):
                            movers.append(mover)
                            break
                else:
                    break
            if len(movers) == len(proposals):
                yield movers
        raise ValueError(f"{len(proposals)} figures do not fit on {self.width}×{self.height} px")

    def _run(
        self, rng: Random, back: bool, straight: bool, length: float, edge: float, shrink: float
    ) -> Route | None:
        """A route ``length`` px long, along itself or ``straight`` from end to end, if it fits."""
        shape = self._shape(rng, back)
        scale = length * shrink / (_net if straight else _path)(shape)
        xs, ys = [scale * s.real for s in shape], [scale * s.imag for s in shape]
        spare_x = self.width - 2 * edge - (max(xs) - min(xs))
        spare_y = self.height - 2 * edge - (max(ys) - min(ys))
        if spare_x < 0 or spare_y < 0:
            return None
        dx = edge - min(xs) + rng.random() * spare_x
        dy = edge - min(ys) + rng.random() * spare_y
        return [complex(round(x + dx, 1), round(y + dy, 1)) for x, y in zip(xs, ys, strict=True)]

    def _by_line(
        self, rng: Random, line: Corners, role: Role, edge: float, shrink: float
    ) -> Route | None:
        """A route of that role, wholly on one side of the line whenever the side matters."""
        back = role is Role.RETURN or (role is Role.STAY and rng.random() < 0.6 * self.difficulty)
        length = min(self.width, self.height) * rng.uniform(0.5, 0.75) * (1.4 if back else 1)
        route = self._run(rng, back, False, length, edge, shrink)
        if route is None:
            return None
        depths, clear = _depths(route, line), 1.1 * edge
        near = 3 * clear if back else math.inf  # who turns back comes near: a trap
        fits = {
            Role.STAY: clear <= min(depths) <= near,
            Role.OVER: depths[-1] <= -clear,
            Role.RETURN: depths[-1] >= clear and min(depths[k] for k in KEYS) <= -clear,
        }
        return route if depths[0] >= clear and fits[role] else None

    def _shape(self, rng: Random, back: bool) -> Route:
        """A route from 0 in units of its own: a stretch, one with a pause, or out and back."""
        legs = [(15, 1.0, 0.0)]  # steps, length, radians turned before
        if back:
            out, turn = rng.choice(KEYS[1:3]), math.pi + rng.uniform(-0.5, 0.5)
            legs = [(out, 1.0, 0.0), (15 - out, rng.uniform(0.5, 0.8), turn)]
        elif rng.random() < 0.5 * self.difficulty:
            out = rng.randint(4, 8)
            legs = [(out, 1.0, 0.0), (3, 0.0, 0.0), (12 - out, rng.uniform(0.7, 1.3), 0.0)]
        bend = rng.uniform(-1, 1) * (0.02 + 0.1 * self.difficulty)  # radians a step
        heading, spots = rng.uniform(0, 2 * math.pi), [0j]
        for steps, length, turn in legs:
            heading += turn
            paces = [0.5 + math.sin(math.pi * (n + 0.5) / steps) for n in range(steps)]
            for pace in paces:
                heading += bend
                spots.append(spots[-1] + cmath.rect(length * pace / sum(paces), heading))
        return spots

    def _line(self, rng: Random) -> Corners:
        """From edge to edge through the middle, upright or level, and often slanted."""
        middle, tilt = rng.uniform(0.42, 0.58), rng.choice((0, 0.06, 0.12))
        a, b = rng.sample((middle - tilt, middle + tilt), 2)
        if rng.random() < self.height / (self.width + self.height):  # rather along the long sides
            return Point(round(a * self.width), 0), Point(round(b * self.width), self.height)
        return Point(0, round(a * self.height)), Point(self.width, round(b * self.height))


def _net(route: Route) -> float:
    """px from the first place straight to the last."""
    return abs(route[-1] - route[0])


def _path(route: Route) -> float:
    """px along the whole way, from frame to frame."""
    return sum(abs(b - a) for a, b in pairwise(route))


MEASURES = {Ask.NET: _net, Ask.PATH: _path}


def _depths(route: Route, line: Corners) -> list[float]:
    """px from the line in each frame: above 0 on the side of the start, below 0 across."""
    a, b = complex(*line[0]), complex(*line[1])
    sides = [((s - a) * (b - a).conjugate()).imag / abs(b - a) for s in route]
    return sides if sides[0] > 0 else [-side for side in sides]


def _across(route: Route, line: Corners) -> int:
    """A key frame (0-based) that shows the figure across: the last, unless it has come back."""
    depths = _depths(route, line)
    return KEYS[-1] if depths[-1] < 0 else min(KEYS, key=lambda frame: depths[frame])


def _apart(a: Mover, b: Mover) -> bool:
    return all(abs(a.route[k] - b.route[k]) > 1.1 * (a.radius + b.radius) + 1 for k in KEYS)


def _trace(mover: Mover, stops: Sequence[int]) -> list[Line]:
    """Lines on the last frame from each stop to the next, none without a length."""
    spots = [Point(round(mover.route[k].real), round(mover.route[k].imag)) for k in stops]
    return [Line(FRAMES, (a, b), f"{mover.name} path") for a, b in pairwise(spots) if a != b]


def _dash(pixels: Pixels, line: Corners) -> None:
    (x1, y1), (x2, y2) = line
    side = min(pixels.shape[:2])
    count = round(math.dist(*line) / (0.07 * side))
    for n in range(count):
        s, e = (n + 0.2) / count, (n + 0.8) / count
        first = round(x1 + s * (x2 - x1)), round(y1 + s * (y2 - y1))
        last = round(x1 + e * (x2 - x1)), round(y1 + e * (y2 - y1))
        cv2.line(pixels, first, last, INK, max(1, round(side / 120)), cv2.LINE_AA)


def _frame(ground: Pixels, movers: list[Mover], frame: int) -> Pixels:
    pixels = ground.copy()
    for mover in movers:
        fill(pixels, mover.corners(frame), COLOURS[mover.colour])
    return pixels


def _geometry(ask: Ask, movers: list[Mover], line: Corners | None) -> str:
    rows = [[m.colour, m.form, m.radius, [[s.real, s.imag] for s in m.route]] for m in movers]
    return json.dumps({"ask": ask, "figures": rows, "line": line}, separators=(",", ":"))
