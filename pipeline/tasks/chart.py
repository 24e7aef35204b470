"""Chart: read values off an axis that is far from where they are, by drawing over to it.

Bars, or points joined by a line, over a value axis with labelled ticks. Level lines carry a height over
to the numbers, or a number over to the columns; boxes mark the tops that count.

Difficulty turns the number of columns (2 to 7), whether there are grid lines, and whether values lie on
ticks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

import cv2

from pipeline.images import Pixels
from pipeline.tasks import Wording
from pipeline.tasks.phrasing import lettered, listed, near_numbers, say
from pipeline.tasks.posed import Asked, posed
from pipeline.tasks.shapes import COLOURS, caption, paper
from pipeline.types import Box, Line, Op, Point, Problem, Step

NAMES = "PQRSTUV"  # none that options have
UNITS = (1, 2, 5, 10, 20, 50, 100)  # between two ticks
INK, FAINT = (60, 60, 70), (200, 200, 205)
PARTS = 4  # of a tick that values may lie on

VALUE = (
    "What is the value of {first}?",
    "Read the value of {first} off the chart.",
    "How much does the chart show for {first}?",
    "Which number belongs to {first}?",
    "To what value does {first} reach?",
)
DIFFERENCE = (
    "By how much is {first} larger than {second}?",
    "What is the difference between {first} and {second}?",
    "How much more than {second} is {first}?",
    "Subtract the value of {second} from that of {first}. What remains?",
    "{first} exceeds {second} by how much?",
)
ABOVE = (
    "How many values are above {level}?",
    "Count the columns whose value is larger than {level}.",
    "How many of the columns exceed {level}?",
    "In how many columns is more than {level} shown?",
    "What is the number of values larger than {level}?",
)
NEAREST = (
    "Which column has a value of {level}?",
    "Whose value is {level}?",
    "For which column does the chart show {level}?",
    "At which column is {level} reached exactly?",
    "Find the column whose value is {level}.",
)
OVER = (
    "I draw level lines from {named} over to the axis.",
    "A line from the top of {named} to the axis shows the value.",
    "Let me go from {named} straight across to the numbers.",
)
ACROSS = (
    "I draw a level line at {level} across the chart.",
    "A line at {level} from the axis shows what is above it.",
    "Let me mark the height of {level}.",
)
MARK = (
    "Now I box the tops that count: {named}.",
    "At the right height are the tops of {named}; I mark them.",
    "I put boxes on the tops of {named}.",
)


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart: the value of each column in parts of a tick, and where all of it lies, px."""

    values: tuple[int, ...]
    unit: int  # between two ticks
    ticks: int  # above zero
    left: int
    right: int
    top: int
    bottom: int
    bars: bool

    def x(self, column: int) -> int:
        return round(self.left + (column + 0.5) * (self.right - self.left) / len(self.values))

    def y(self, parts: float) -> int:
        return round(self.bottom - parts / (PARTS * self.ticks) * (self.bottom - self.top))

    def said(self, parts: int) -> str:
        """A value as a number."""
        value = parts * self.unit / PARTS
        return str(int(value)) if value.is_integer() else f"{value:.2f}".rstrip("0")

    def end(self, column: int) -> Point:
        return Point(self.x(column), self.y(self.values[column]))


@dataclass(frozen=True)
class Chart:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random) -> Problem:
        family = rng.choice([*FAMILIES])
        plot = self._plot(rng)
        while (asked := FAMILIES[family](self, rng, plot)) is None:
            plot = self._plot(rng)
        pixels = _draw(rng, self.width, self.height, plot, grid=self.difficulty < 0.4)
        facts = {
            "values": [plot.said(value) for value in plot.values],
            "axis": [plot.unit, plot.ticks, plot.bottom, plot.top],
            "bars": plot.bars,
        }
        tops = [self._top(plot, n) for n in range(len(plot.values))]
        return posed("chart", self.difficulty, pixels, asked, tops, facts)

    def _plot(self, rng: Random) -> Plot:
        """Different values, on ticks at first, between them when it is hard and there is room."""
        count = 2 + round(rng.uniform(0.5, 1) * 5 * self.difficulty)
        count = min(count, (self.width - 30) // 11)
        ticks = rng.randint(4, 6)
        left, right = 28, self.width - 6
        top, bottom = 12, self.height - 16
        room = (bottom - top) / ticks  # px a tick
        fine = (
            1
            if self.difficulty > 0.6 and room >= 5 * PARTS
            else 2
            if self.difficulty > 0.2
            else PARTS
        )
        fine = fine if room * fine / PARTS >= 5 else PARTS
        levels = [*range(fine, ticks * PARTS + 1, fine)]
        values = rng.sample(levels, min(count, len(levels)))
        bars = rng.random() < 1 - 0.5 * self.difficulty
        return Plot(tuple(values), rng.choice(UNITS), ticks, left, right, top, bottom, bars)

    def _top(self, plot: Plot, column: int) -> Box:
        x, y = plot.end(column)
        half = max(3, min(7, (plot.right - plot.left) // (3 * len(plot.values))))
        return Box(1, (Point(x - half, y - 4), Point(x + half, y + 4)), NAMES[column])

    def _over(self, rng: Random, plot: Plot, columns: Sequence[int]) -> Step:
        """Level lines from the tops of columns to the axis."""
        named = listed([NAMES[n] for n in columns])
        lines: list[Op] = [
            Line(1, (plot.end(n), Point(plot.left, plot.end(n).y)), NAMES[n]) for n in columns
        ]
        return Step(say(rng, self.wording, OVER, named=named), tuple(lines))

    def _across(self, rng: Random, plot: Plot, parts: int) -> Step:
        y = plot.y(parts)
        mark = Line(1, (Point(plot.left, y), Point(plot.right, y)), plot.said(parts))
        return Step(say(rng, self.wording, ACROSS, level=plot.said(parts)), (mark,))

    def _tops(self, rng: Random, plot: Plot, columns: Sequence[int]) -> Step:
        named = listed([NAMES[n] for n in columns])
        boxes = tuple(self._top(plot, n) for n in columns)
        return Step(say(rng, self.wording, MARK, named=named), boxes)

    def value(self, rng: Random, plot: Plot) -> Asked:
        """The value of one column."""
        column = rng.randrange(len(plot.values))
        asked = say(rng, self.wording, VALUE, first=NAMES[column])
        value = plot.said(plot.values[column])
        gold = (self._over(rng, plot, [column]),)
        return Asked(asked, value, (), gold, f"The line meets the axis at {value}.")

    def difference(self, rng: Random, plot: Plot) -> Asked:
        """How much one column is above another."""
        first, second = rng.sample(range(len(plot.values)), 2)
        if plot.values[first] < plot.values[second]:
            first, second = second, first
        said = {"first": NAMES[first], "second": NAMES[second]}
        values = [plot.said(plot.values[n]) for n in (first, second)]
        gap = plot.said(plot.values[first] - plot.values[second])
        ends = f"The lines meet the axis at {values[0]} and {values[1]}; that is {gap} apart."
        gold = (self._over(rng, plot, [first, second]),)
        return Asked(say(rng, self.wording, DIFFERENCE, **said), gap, (), gold, ends)

    def above(self, rng: Random, plot: Plot) -> Asked | None:
        """How many columns are above a tick."""
        level = PARTS * rng.randint(1, plot.ticks - 1)
        if level in plot.values:
            return None
        over = [n for n, value in enumerate(plot.values) if value > level]
        gold = [self._across(rng, plot, level)]
        if over:
            gold.append(self._tops(rng, plot, over))
        said = plot.said(level)
        ends = f"{len(over)} {'value is' if len(over) == 1 else 'values are'} above {said}."
        asked = say(rng, self.wording, ABOVE, level=said)
        count = len(plot.values)
        options, answer = lettered(rng, str(len(over)), near_numbers(rng, len(over), 3))
        if count < 3 or rng.random() < 0.5:
            return Asked(asked, str(len(over)), (), tuple(gold), ends)
        return Asked(asked, answer, options, tuple(gold), ends)

    def reached(self, rng: Random, plot: Plot) -> Asked:
        """The column that has a value."""
        column, level = rng.choice([*enumerate(plot.values)])
        wrong = [NAMES[n] for n in range(len(plot.values)) if n != column]
        options, answer = lettered(rng, NAMES[column], rng.sample(wrong, min(3, len(wrong))))
        gold = (self._across(rng, plot, level), self._tops(rng, plot, [column]))
        said = plot.said(level)
        ends = f"The line at {said} meets the top of {NAMES[column]}."
        return Asked(say(rng, self.wording, NEAREST, level=said), answer, options, gold, ends)


FAMILIES: dict[str, Callable[[Chart, Random, Plot], Asked | None]] = {
    "value": Chart.value,
    "difference": Chart.difference,
    "above": Chart.above,
    "reached": Chart.reached,
}


def _draw(rng: Random, width: int, height: int, plot: Plot, *, grid: bool) -> Pixels:
    pixels = paper(rng, width, height)
    for tick in range(plot.ticks + 1):
        y = plot.y(tick * PARTS)
        if grid:
            cv2.line(pixels, (plot.left, y), (plot.right, y), FAINT)
        cv2.line(pixels, (plot.left - 3, y), (plot.left, y), INK)
        number = plot.said(tick * PARTS)
        caption(pixels, number, Point(plot.left - 6 - 3 * len(number), y), 10, INK)
    colours = rng.sample([*COLOURS.values()], len(COLOURS))
    wide = max(3, (plot.right - plot.left) * 3 // (5 * len(plot.values)))
    ends = [plot.end(n) for n in range(len(plot.values))]
    for n, (end, colour) in enumerate(zip(ends, colours, strict=False)):
        if plot.bars:
            corner = (end.x + wide // 2, plot.bottom)
            cv2.rectangle(pixels, (end.x - wide // 2, end.y), corner, colour, -1)
        elif n:
            cv2.line(pixels, ends[n - 1], end, colours[0], 2, cv2.LINE_AA)
        caption(pixels, NAMES[n], Point(end.x, plot.bottom + 9), 11, INK)
    if not plot.bars:
        for end in ends:
            cv2.circle(pixels, end, 3, INK, -1, cv2.LINE_AA)
    cv2.line(pixels, (plot.left, plot.top), (plot.left, plot.bottom), INK)
    cv2.line(pixels, (plot.left, plot.bottom), (plot.right, plot.bottom), INK)
    return pixels
