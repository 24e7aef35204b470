"""Motion: figures move through 16 frames; which went farthest, or how many crossed a line.

Boxes hold places that are never seen in one picture together, lines the ways between them; the
dashed line is traced where sides matter.

Difficulty turns the number and likeness of figures, their bends, pauses and turns back, how close
the race is, and how many only come near the line or return. In the key frames, which are those
that gold marks, no figure touches another.
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
from pipeline.tasks.phrasing import SMALL, lettered, listed, near_numbers, say
from pipeline.tasks.shapes import COLOURS, FIGURES, bounding_box, fill, outline, paper
from pipeline.types import Box, Kind, Line, Modality, Op, Point, Problem, Scene, Step

FRAMES = 16
ENDS = (0, FRAMES - 1)  # 0-based, as all frames up to the ops
KEYS = (0, 5, 10, 15)  # a figure that turns back does so in one of the middle two

Route = Sequence[complex]  # a figure's centre in each frame, px, x + iy
Propose = Callable[[int, float, float], Route]  # of a figure's number, its radius and a shrinkage
Roles = Sequence[tuple[bool, bool]]  # of each figure, whether it turns back and gets over
Steps = list[tuple[Sequence[str], Sequence[Op]]]  # phrasings of a thought, and what it draws

Ask = StrEnum("Ask", ["NET", "PATH", "ENDED", "CROSSED"])

TERMS = {
    Ask.NET: ("from where it started to where it ended", "from its start straight to its end"),
    Ask.PATH: ("along its whole path", "along its path, every bend and turn back included"),
    Ask.ENDED: (
        "end on the other side of the dashed line from where they started",
        "are on different sides of the dashed line in the first and in the last frame",
    ),
    Ask.CROSSED: (
        "cross the dashed line at least once, whether or not they come back",
        "are across the dashed line from where they started in at least one frame",
    ),
}
FARTHEST = (
    "Which of these figures moved farthest {term}?",
    "Which figure moved farthest, measured {term}?",
    "One figure moved farther than all others {term}. Which one?",
    "Compare how far each figure moved {term}. Which moved farthest?",
    "Which figure covered the greatest distance {term}?",
)
TIMES = (
    "To one decimal, how many times as far as the {base} did the {thing} move, each {term}?",
    "To one decimal, what is the {thing}'s distance {term} divided by the {base}'s?",
    "Take how far each moved {term}. What is the {thing}'s over the {base}'s, to one decimal?",
    "Measure how far each moved {term}. If the {base}'s is 1.0, how much is the {thing}'s?",
    "Measured {term}, the {thing} moved how many times as far as the {base}? Give one decimal.",
)
COUNTS = (
    "How many figures {term}?",
    "Follow every figure through the frames. How many of them {term}?",
    "What is the number of figures that {term}?",
    "Count the figures that {term}. How many are there?",
    "How many of the moving figures {term}?",
)
PLANS = ("I box the {things} in frames 1 and 16.", "First the {things}, at the start and the end.")
STAGES = (
    "From stop to stop, in frames {frames}, I draw the way that each figure came.",
    "I go through frames {frames} and draw a line to each figure from its stop before.",
)
RESULTS = (
    "The {thing} moved about {far} pixels and the {base} {near}, so the {thing} went {verdict}.",
    "About {far} pixels for the {thing} against {near} for the {base}: it moved {verdict}.",
)
SIDES = ("First I trace the dashed line.", "I mark the dashed line at the start and at the end.")
CROSSERS = (
    "Next I box the figures that {term}, at the start and across: the {things}.",
    "I look for figures that {term} and box both their places: the {things}.",
)
TALLIES = (
    "The number of figures that {term} is {count}.",
    "Having followed every figure: those that {term} number {count}.",
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

    def stages(self, stops: Sequence[int]) -> list[Line]:
        """A line from each stop to the next, in the frame of the next; none without a length."""
        spots = [Point(round(self.route[k].real), round(self.route[k].imag)) for k in stops]
        legs = zip(stops[1:], pairwise(spots), strict=True)
        return [Line(k + 1, leg, f"{self.name} path") for k, leg in legs if leg[0] != leg[1]]

    def apart(self, other: "Mover") -> bool:
        reach = 1.1 * (self.radius + other.radius) + 1
        return all(abs(self.route[k] - other.route[k]) > reach for k in KEYS)


class Plot(NamedTuple):
    """What happens, what is asked of it and how it is found out; texts still to be worded."""

    movers: list[Mover]
    question: Sequence[str]
    right: str
    wrong: list[str]  # of a choice
    steps: Steps
    facts: dict[str, str]


@dataclass(frozen=True)
class Motion:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random) -> Problem:
        ask, kind = rng.choice(list(Ask)), rng.choice(list(Kind))
        line = self._line(rng) if ask in (Ask.ENDED, Ask.CROSSED) else None
        plot = self._traffic(rng, ask, line) if line else self._race(rng, ask, kind)
        options, answer = tuple[str, ...](), plot.right
        if kind is Kind.CHOICE:
            options, answer = lettered(rng, plot.right, plot.wrong)
        facts = {"term": say(rng, self.wording, TERMS[ask]), **plot.facts}
        movers = rng.sample(plot.movers, len(plot.movers))  # who covers whom says nothing
        boxes: list[Op] = [m.box(frame) for frame in range(FRAMES) for m in movers]
        lines = [op for _, ops in plot.steps for op in ops if isinstance(op, Line)]
        rows = [[m.colour, m.form, m.radius, [[s.real, s.imag] for s in m.route]] for m in movers]
        geometry = {"ask": ask, "figures": rows, "line": line}
        return Problem(
            id="",
            task="motion",
            modality=Modality.VIDEO,
            images=tuple(encode(pixels) for pixels in self._paint(rng, movers, line)),
            question=say(rng, self.wording, plot.question, **facts),
            options=options,
            answer=answer,
            kind=kind,
            difficulty=self.difficulty,
            gold=tuple(Step(say(rng, self.wording, t, **facts), tuple(o)) for t, o in plot.steps),
            conclusion=say(rng, self.wording, TALLIES if line else RESULTS, **facts),
            scene=Scene((*boxes, *lines), json.dumps(geometry, separators=(",", ":"))),
        )

    def _race(self, rng: Random, ask: Ask, kind: Kind) -> Plot:
        """The first figure wins; how many ``times`` as far as the second it goes is drawn first."""
        hard, number = self.difficulty, kind is Kind.NUMBER
        stops, keys = (range(FRAMES), KEYS) if ask is Ask.PATH else (ENDS, ENDS)
        times = rng.randint(15, 30) / 10 if number else 1.32 - 0.2 * hard + rng.uniform(0, 0.1)
        best = min(self.width, self.height) * rng.uniform(0.6, 0.7)
        # A trap: whoever turns back makes a short net move on a long path, so its path is set.
        runs = [(ask is Ask.PATH and rng.random() < hard, best), (False, best / times)]
        for _ in range(rng.randint(2, 2 + round(4 * hard))):
            back, length = rng.random() < 0.6 * hard, rng.uniform(0.35, 0.96) * best
            longer = 1.6 if back and ask is Ask.NET else 1.0
            runs.append((back, length * longer / (1 if number else times)))

        def propose(n: int, radius: float, shrink: float) -> Route:
            back, length = runs[n]
            shape = self._shape(rng, back)
            scale = length * shrink / _way(shape, range(FRAMES) if back else stops)
            middle = complex(rng.random() * self.width, rng.random() * self.height)
            return [middle + scale * (spot - shape[8]) for spot in shape]

        for movers in self._layouts(rng, len(runs), propose):
            far, near = (_way(m.route, stops) for m in movers[:2])
            if abs(far / near - times) < 0.02:  # places are rounded
                break
        asked = movers[: 2 if number else 4]
        names = [m.name for m in asked]
        rng.shuffle(asked)  # gold must not begin with the answer
        facts = {"thing": names[0], "base": names[1], "far": f"{far:.1f}", "near": f"{near:.1f}"}
        facts["verdict"] = f"{times:g} times as far" if number else "farthest"
        facts["things"] = listed([m.name for m in asked])
        facts["frames"] = listed([str(k + 1) for k in keys])
        steps: Steps = [
            (PLANS, [m.box(k) for k in ENDS for m in asked]),
            (STAGES, [line for m in asked for line in m.stages(keys)]),
        ]
        question, right = (TIMES, f"{times:g}") if number else (FARTHEST, names[0])
        return Plot(movers, question, right, names[1:], steps, facts)

    def _traffic(self, rng: Random, ask: Ask, line: Corners) -> Plot:
        """Figures about the line; those that count come first."""
        most, trap = round(2 + 4 * self.difficulty), 0.6 * self.difficulty
        count = rng.randint(0, most)  # first, so that every answer is equally likely
        total, roles = rng.randint(most, most + 2), []
        for n in range(total):
            back, over = rng.random() < trap, n < count
            if ask is Ask.ENDED:  # who returns does not count
                back = back and not over
                over = over or (back and rng.random() < 0.5)
            roles.append((back, over))
        movers = next(self._layouts(rng, total, partial(self._by_line, rng, line, roles)))
        counted = movers[:count]
        steps: Steps = [(SIDES, [Line(k, line, "dashed line") for k in (1, FRAMES)])]
        facts = {"count": SMALL[count] if count else "zero"}
        if counted:
            facts["things"] = listed([m.name for m in counted])
            steps.append((CROSSERS, [m.box(k) for m in counted for k in (0, _far(m.route))]))
        return Plot(movers, COUNTS, str(count), near_numbers(rng, count, 3), steps, facts)

    def _layouts(self, rng: Random, count: int, propose: Propose) -> Iterator[list[Mover]]:
        """Figures of distinct kinds on proposed routes, inside and apart in key frames."""
        side = min(self.width, self.height) * (0.085 - 0.024 * self.difficulty)
        for attempt in range(100):
            shrink = 0.98**attempt  # ends by fitting: figures get smaller and go less far
            # The harder, the fewer colours and forms, and so the more figures that share one.
            colours = rng.sample(list(COLOURS), round(8 - 5 * self.difficulty))
            forms = rng.sample(FIGURES, round(6 - 3 * self.difficulty))
            movers: list[Mover] = []
            for number, kind in enumerate(rng.sample(list(product(colours, forms)), count)):
                radius = round(max(5.0, side * rng.uniform(0.9, 1.15) * shrink), 1)
                for _ in range(100):
                    route = propose(number, radius, shrink)
                    if self._holds(route, radius + 2):
                        spots = [complex(round(s.real, 1), round(s.imag, 1)) for s in route]
                        mover = Mover(*kind, radius, spots)
                        if all(mover.apart(other) for other in movers):
                            movers.append(mover)
                            break
                else:
                    break
            if len(movers) == count:
                yield movers
        raise ValueError(f"{count} figures do not fit on {self.width}×{self.height} px")

    def _holds(self, route: Route, edge: float) -> bool:
        x, y = self.width - edge, self.height - edge
        return bool(route) and all(edge <= s.real <= x and edge <= s.imag <= y for s in route)

    def _by_line(
        self, rng: Random, line: Corners, roles: Roles, n: int, radius: float, shrink: float
    ) -> Route:
        """A route wholly on one side of the line; or one that starts, and if it turns back ends,
        wholly there, and is wholly over at its far point. Empty if that did not work out."""
        back, over = roles[n]
        shape, side = self._shape(rng, back), min(self.width, self.height) * shrink
        start, way = complex(*line[0]), complex(*line[1]) - complex(*line[0])
        home = rng.choice((1j, -1j)) * way / abs(way)  # a px away from the line, where it starts
        far, reach = _far(shape), 1.0 if over else 0.6  # there is only half a picture to stay in
        scale = reach * side * rng.uniform(0.4, 0.7) * (1.4 if back else 1) / _way(shape)
        slant = rng.uniform(-1, 1) * (1 if back or over else math.pi)  # to the line's normal
        turn = -home * cmath.rect(scale, slant - cmath.phase(shape[far]))
        shape = [turn * spot for spot in shape]
        heights = [(spot / home).real for spot in shape]  # px, along home
        clear = 1.2 * radius + 2
        low = clear - min(heights)
        high = low + (clear if back else 0.2 * side)  # who turns back comes near
        if over:
            low, high = clear - min(heights[0], heights[-1 if back else 0]), -clear - heights[far]
        middle = start + rng.random() * way + rng.uniform(low, high) * home
        shift = middle - shape[8] + heights[8] * home
        return [shift + spot for spot in shape] if low < high else []

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

    def _paint(self, rng: Random, movers: list[Mover], line: Corners | None) -> Iterator[Pixels]:
        ground = paper(rng, self.width, self.height)
        if line:
            side, (x1, y1), (x2, y2) = min(self.width, self.height), *line
            count = round(math.dist(*line) / (0.07 * side))
            for n in range(count):
                ends = [(n + part) / count for part in (0.2, 0.8)]
                a, b = ((round(x1 + t * (x2 - x1)), round(y1 + t * (y2 - y1))) for t in ends)
                cv2.line(ground, a, b, (70, 70, 70), max(1, round(side / 120)), cv2.LINE_AA)
        for frame in range(FRAMES):
            pixels = ground.copy()
            for mover in movers:
                fill(pixels, mover.corners(frame), COLOURS[mover.colour])
            yield pixels


def _way(route: Route, stops: Sequence[int] = range(FRAMES)) -> float:
    """px from stop to stop, frames by their 0-based number."""
    return sum(abs(route[b] - route[a]) for a, b in pairwise(stops))


def _far(route: Route) -> int:
    """The key frame (0-based) farthest from the start: the last, or where a figure turns back."""
    return max(KEYS, key=lambda frame: abs(route[frame] - route[0]))
