"""Relation: how figures with names of their own lie to one another: side, order, number, distance.

Boxes show where the figures asked about have their middles; lines from one middle to the others make
distances comparable.

Difficulty turns the number of figures (from two to ten), how alike their names are, their size, and
how close a call the answer is.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import ClassVar

from pipeline import geometry
from pipeline.tasks import Wording
from pipeline.tasks.phrasing import LETTERS, lettered, listed, say
from pipeline.tasks.posed import Asked, posed
from pipeline.tasks.shapes import COLOURS, FIGURES, Figure, bounding_box, fill, paper, scatter
from pipeline.types import Box, Line, Op, Point, Problem, Size, Step

ATTEMPTS = 2000
# Each side: which coordinate of a centre it goes by, and the sign that makes "further" larger.
SIDES: dict[str, tuple[int, int]] = {
    "left": (0, -1),
    "right": (0, 1),
    "top": (1, -1),
    "bottom": (1, 1),
}
WHERE = {"left": "to the left of", "right": "to the right of", "top": "above", "bottom": "below"}
SIDE = (
    "Where is the {first} as seen from the {second}?",
    "On which side of the {second} does the {first} lie?",
    "How does the {first} lie to the {second}?",
    "Compare the {first} with the {second}: where is it?",
    "Seen from the {second}, in which direction is the {first}?",
)
EXTREME = (
    "Which of these is furthest to the {side}: {names}?",
    "Which one lies closest to the {side} edge: {names}?",
    "What is furthest to the {side} of the picture: {names}?",
    "Starting at the {side} edge, which comes first: {names}?",
    "Compare their middles. Which one is furthest to the {side}: {names}?",
)
NEAREST = (
    "Which of these is nearest to the {first}: {names}?",
    "Which one lies closest to the {first}: {names}?",
    "From the {first}, which is the shortest way off: {names}?",
    "What has the smallest distance to the {first}: {names}?",
    "Compare the middles. Which one is least far from the {first}: {names}?",
)
NUMBER = (
    "How many figures are {where} the {first}?",
    "Count the figures {where} the {first}.",
    "What is the number of figures that lie {where} the {first}?",
    "Looking at the middle of each figure, how many are {where} the {first}?",
    "How many of the other figures lie {where} the {first}?",
)
BOXES = (
    "I box {named} first.",
    "To begin with, I mark {named}.",
    "Let me put a box around {named}.",
    "The question is about {named}; boxes first.",
)
LINES = (
    "Now a line from the {first} to each of them shows the distances.",
    "I join the {first} to each candidate.",
    "Lines from the {first} make the lengths comparable.",
)
REST = (
    "Now I box every figure {where} it.",
    "I mark the figures that lie {where} it.",
    "Next, a box around each figure {where} it.",
)


@dataclass(frozen=True)
class Relation:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random) -> Problem:
        family = rng.choice([*FAMILIES])
        least = 2 if family == "side" else 3
        count = least + round(rng.uniform(0, 7) * self.difficulty)
        for _ in range(ATTEMPTS):
            figures = self._figures(rng, count)
            if len(figures) == count and (asked := FAMILIES[family](self, rng, figures)):
                break
        else:
            raise ValueError(f"no {family} of {count} figures on {self.width}×{self.height} px")
        pixels = paper(rng, self.width, self.height)
        for figure in figures:
            fill(pixels, figure.points, COLOURS[figure.colour])
        rows = [[f.colour, f.form, f.x, f.y, f.radius, f.turn] for f in figures]
        marks = [*map(self._box, figures)]
        return posed("relation", self.difficulty, pixels, asked, marks, {"figures": rows})

    def _figures(self, rng: Random, count: int) -> list[Figure]:
        """Figures of different names; the harder, the more of them share colour or form."""
        names = list(product(COLOURS, FIGURES))
        rng.shuffle(names)
        (colour, form), *others = names
        shared = [(c, f) for c, f in others if (c == colour) != (f == form)]
        alike = sum(rng.random() < self.difficulty for _ in range(count - 1))
        apart = [name for name in others if name not in shared]
        kinds = [(colour, form), *shared[:alike], *apart[: count - 1 - alike]]
        rng.shuffle(kinds)
        radius = min(self.width, self.height) * (0.12 - 0.05 * self.difficulty)
        return scatter(rng, kinds, self.width, self.height, radius, gap=1.05)

    @property
    def _margin(self) -> float:
        """By how much the right answer must be ahead, px."""
        return max(4.0, min(self.width, self.height) * (0.1 - 0.07 * self.difficulty))

    def _box(self, figure: Figure) -> Box:
        around = geometry.clip_box(bounding_box(figure.points), Size(self.width, self.height))
        return Box(1, around, figure.name)

    def _boxes(self, rng: Random, figures: Sequence[Figure]) -> Step:
        named = listed([f"the {figure.name}" for figure in figures])
        return Step(say(rng, self.wording, BOXES, named=named), tuple(map(self._box, figures)))

    def side(self, rng: Random, figures: Sequence[Figure]) -> Asked | None:
        """The side of one figure on which another lies: clearly more along one axis."""
        first, second = rng.sample(list(figures), 2)
        across, down = first.x - second.x, first.y - second.y
        if abs(abs(across) - abs(down)) < 2 * self._margin:
            return None
        if abs(across) > abs(down):
            side = "right" if across > 0 else "left"
        else:
            side = "bottom" if down > 0 else "top"
        wrong = [where for name, where in WHERE.items() if name != side]
        options, answer = lettered(rng, WHERE[side], wrong)
        names = {"first": first.name, "second": second.name}
        ends = f"The box of the {first.name} is {WHERE[side]} that of the {second.name}."
        gold = (self._boxes(rng, (first, second)),)
        return Asked(say(rng, self.wording, SIDE, **names), answer, options, gold, ends)

    def extreme(self, rng: Random, figures: Sequence[Figure]) -> Asked | None:
        """Which of some figures is furthest to one side of the picture."""
        side = rng.choice([*SIDES])
        some = rng.sample(list(figures), min(len(figures), rng.randint(2, 4)))
        best, second = sorted(some, key=lambda f: -_along(f, side))[:2]
        if _along(best, side) - _along(second, side) < self._margin:
            return None
        options, answer, named = _named(rng, best, some)
        said = {"side": side, "names": listed([f"the {f.name}" for f in named], "or")}
        ends = f"Of the boxes, that of the {best.name} is furthest to the {side}."
        gold = (self._boxes(rng, named),)
        return Asked(say(rng, self.wording, EXTREME, **said), answer, options, gold, ends)

    def nearest(self, rng: Random, figures: Sequence[Figure]) -> Asked | None:
        """Which of some figures has its middle nearest to that of another."""
        first, *others = rng.sample(list(figures), min(len(figures), rng.randint(3, 5)))
        best, second = sorted(others, key=lambda f: _distance(first, f))[:2]
        if _distance(first, second) - _distance(first, best) < self._margin:
            return None
        options, answer, named = _named(rng, best, others)
        said = {"first": first.name, "names": listed([f"the {f.name}" for f in named], "or")}
        lines = tuple(Line(1, (_middle(first), _middle(f)), f"to the {f.name}") for f in named)
        ends = f"The line to the {best.name} is the shortest."
        gold = (
            self._boxes(rng, (first, *named)),
            Step(say(rng, self.wording, LINES, **said), lines),
        )
        return Asked(say(rng, self.wording, NEAREST, **said), answer, options, gold, ends)

    def number(self, rng: Random, figures: Sequence[Figure]) -> Asked | None:
        """How many figures lie on one side of one of them, by their middles."""
        side, first = rng.choice([*SIDES]), rng.choice(figures)
        ahead = [(_along(f, side) - _along(first, side), f) for f in figures if f is not first]
        if min(abs(gap) for gap, _ in ahead) < self._margin:
            return None
        there = [f for gap, f in ahead if gap > 0]
        said = {"where": WHERE[side], "first": first.name}
        gold = [self._boxes(rng, [first])]
        if there:
            marks: list[Op] = sorted(map(self._box, there), key=lambda op: op.p)
            gold.append(Step(say(rng, self.wording, REST, **said), tuple(marks)))
        lie = "figure lies" if len(there) == 1 else "figures lie"
        ends = f"{len(there)} {lie} {WHERE[side]} it."
        asked = say(rng, self.wording, NUMBER, **said)
        return Asked(asked, str(len(there)), (), tuple(gold), ends)


FAMILIES: dict[str, Callable[[Relation, Random, Sequence[Figure]], Asked | None]] = {
    "side": Relation.side,
    "extreme": Relation.extreme,
    "nearest": Relation.nearest,
    "number": Relation.number,
}


def _named(
    rng: Random, best: Figure, some: Sequence[Figure]
) -> tuple[tuple[str, ...], str, list[Figure]]:
    """Options, the letter of the right one, and the figures in the order of the options."""
    options, answer = lettered(rng, best.name, [f.name for f in some if f is not best])
    by_name = {figure.name: figure for figure in some}
    assert options[LETTERS.index(answer)] == best.name
    return options, answer, [by_name[name] for name in options]


def _along(figure: Figure, side: str) -> float:
    axis, sign = SIDES[side]
    return sign * (figure.x, figure.y)[axis]


def _distance(a: Figure, b: Figure) -> float:
    return math.hypot(a.x - b.x, a.y - b.y)


def _middle(figure: Figure) -> Point:
    return Point(round(figure.x), round(figure.y))
