"""Mirror: patterns of cells under reflection and rotation: what is missing, what is symmetric, what
a turned or mirrored pattern looks like.

Lines show the axes to compare across, boxes the cells without a partner, or a pattern and its match.

Difficulty turns the size of the pattern (3 to 7 cells a side), how much of it is off, and how alike
the candidates are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

import cv2

from pipeline.images import Pixels
from pipeline.tasks import Wording
from pipeline.tasks.phrasing import LETTERS, lettered, near_numbers, say
from pipeline.tasks.posed import Asked, posed
from pipeline.tasks.shapes import COLOURS, caption, paper
from pipeline.types import Box, Line, Op, Point, Problem, Step

Pattern = frozenset[tuple[int, int]]  # filled cells: column, row
EMPTY, EDGE, INK = (252, 252, 252), (150, 150, 160), (40, 60, 160)

MISSING = (
    "How many cells must be filled to make the pattern symmetric about its {axis} middle line?",
    "To be its own mirror image across the {axis} middle line, how many cells does the pattern lack?",
    "Count the cells to add so that both sides of the {axis} middle line match.",
    "How many empty cells have a filled partner across the {axis} middle line?",
    "What is the smallest number of cells to fill for symmetry about the {axis} middle line?",
)
SYMMETRY = (
    "About which middle lines is the pattern symmetric?",
    "Across which of its middle lines can the pattern be mirrored without a change?",
    "Which middle lines are axes of symmetry of the pattern?",
    "Is the pattern its own mirror image, and across which middle line?",
    "Name the middle lines about which the pattern is symmetric.",
)
CHANGED = (
    "Which of the patterns below is the one above {change}?",
    "The upper pattern is {change}. Which of the lower ones is the result?",
    "Take the pattern at the top, {change}: which candidate do you get?",
    "Find the pattern in the lower row that equals the upper one {change}.",
    "Which candidate shows the upper pattern {change}?",
)
AXIS = (
    "I draw the {axis} middle line and compare cell by cell.",
    "A line through the middle, {axis}, shows what must match.",
    "First the {axis} middle line as an auxiliary line.",
)
AXES = (
    "I draw both middle lines and compare the halves.",
    "The two middle lines as auxiliary lines, then I look across each.",
    "Let me draw both possible axes.",
)
GAPS = (
    "These cells lack their partner; I box them.",
    "I mark the cells that must be filled.",
    "Boxes on the empty cells whose partner is filled.",
)
OFF = (
    "I box cells that have no partner across a line that is no axis.",
    "Where partners differ I put a box.",
    "These cells spoil the symmetry; I mark them.",
)
CHOSEN = (
    "I box the pattern above and the candidate that fits it.",
    "Comparing cell by cell, one candidate agrees; I box it and the original.",
    "Let me mark the original and its match.",
)
BOTH = ("only the vertical one", "only the horizontal one", "both", "neither")
CHANGES: dict[str, Callable[[int, int, int], tuple[int, int]]] = {
    "mirrored left to right": lambda n, x, y: (n - 1 - x, y),
    "mirrored top to bottom": lambda n, x, y: (x, n - 1 - y),
    "turned by a quarter clockwise": lambda n, x, y: (n - 1 - y, x),
    "turned by a quarter counterclockwise": lambda n, x, y: (y, n - 1 - x),
    "turned upside down": lambda n, x, y: (n - 1 - x, n - 1 - y),
}
ACROSS = {"vertical": "mirrored left to right", "horizontal": "mirrored top to bottom"}


@dataclass(frozen=True, slots=True)
class Sheet:
    """Patterns of ``cells`` × ``cells`` and where their upper left corners lie, px."""

    cells: int
    cell: int
    patterns: tuple[Pattern, ...]
    corners: tuple[Point, ...]

    def box(self, which: int, x: int, y: int, wide: int = 1) -> tuple[Point, Point]:
        corner = self.corners[which]
        first = Point(corner.x + x * self.cell, corner.y + y * self.cell)
        return first, Point(first.x + wide * self.cell, first.y + wide * self.cell)


@dataclass(frozen=True)
class Mirror:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random) -> Problem:
        family = rng.choice([*FAMILIES])
        cells = 3 + round(4 * self.difficulty * rng.uniform(0.6, 1.0))
        asked, sheet = FAMILIES[family](self, rng, cells)
        colour = rng.choice([*COLOURS])
        pixels = _draw(rng, self.width, self.height, sheet, colour)
        names = ("original", *LETTERS)
        frames = [
            Box(1, sheet.box(n, 0, 0, sheet.cells), names[n]) for n in range(len(sheet.patterns))
        ]
        facts = {
            "cells": sheet.cells,
            "patterns": [sorted(pattern) for pattern in sheet.patterns],
            "colour": colour,
            "corners": sheet.corners,
            "cell": sheet.cell,
        }
        return posed("mirror", self.difficulty, pixels, asked, frames, facts)

    def _alone(self, pattern: Pattern, cells: int) -> Sheet:
        """One pattern in the middle of the picture."""
        cell = (min(self.width, self.height) - 20) // cells
        corner = Point((self.width - cells * cell) // 2, (self.height - cells * cell) // 2)
        return Sheet(cells, cell, (pattern,), (corner,))

    def _line(self, sheet: Sheet, axis: str) -> Line:
        """A middle line of the only pattern, a little longer than it."""
        (x1, y1), (x2, y2) = sheet.box(0, 0, 0, sheet.cells)
        x, y = (x1 + x2) // 2, (y1 + y2) // 2
        ends = {
            "vertical": (Point(x, y1 - 5), Point(x, y2 + 5)),
            "horizontal": (Point(x1 - 5, y), Point(x2 + 5, y)),
        }
        return Line(1, ends[axis], f"{axis} line")

    def _marks(self, sheet: Sheet, cells: Sequence[tuple[int, int]], label: str) -> tuple[Op, ...]:
        return tuple(
            Box(1, sheet.box(0, x, y), f"{label} {n}") for n, (x, y) in enumerate(cells, start=1)
        )

    def missing(self, rng: Random, cells: int) -> tuple[Asked, Sheet]:
        """How many cells a pattern lacks to be symmetric about one middle line."""
        axis = rng.choice([*ACROSS])
        whole = _symmetric(rng, cells, [axis])
        pairs = sorted(cell for cell in whole if cell < _moved(ACROSS[axis], cells, cell))
        gone = rng.sample(pairs, rng.randint(0, min(len(pairs), 2 + round(4 * self.difficulty))))
        taken = {c if rng.random() < 0.5 else _moved(ACROSS[axis], cells, c) for c in gone}
        sheet = self._alone(whole - taken, cells)
        gold = [Step(say(rng, self.wording, AXIS, axis=axis), (self._line(sheet, axis),))]
        if taken:
            marks = self._marks(sheet, sorted(taken), "missing")
            gold.append(Step(say(rng, self.wording, GAPS), marks))
        count = len(taken)
        asked = say(rng, self.wording, MISSING, axis=axis)
        ends = f"{count} {'cell lacks' if count == 1 else 'cells lack'} a partner."
        if rng.random() < 0.7:
            return (Asked(asked, str(count), (), tuple(gold), ends), sheet)
        options, answer = lettered(rng, str(count), near_numbers(rng, count, 3))
        return (Asked(asked, answer, options, tuple(gold), ends), sheet)

    def symmetry(self, rng: Random, cells: int) -> tuple[Asked, Sheet]:
        """About which of its two middle lines a pattern is symmetric: each answer is as likely."""
        which = rng.randrange(len(BOTH))
        axes = (["vertical"], ["horizontal"], ["vertical", "horizontal"], [])[which]
        while True:
            pattern = _symmetric(rng, cells, axes)
            spoilt = {a: _off(pattern, cells, a) for a in ACROSS if a not in axes}
            if all(spoilt.values()):
                break
        sheet = self._alone(pattern, cells)
        lines = tuple(self._line(sheet, axis) for axis in ACROSS)
        gold = [Step(say(rng, self.wording, AXES), lines)]
        if spoilt:
            first = sorted({cells[0] for cells in spoilt.values()})
            gold.append(Step(say(rng, self.wording, OFF), self._marks(sheet, first, "alone")))
        options, answer = lettered(rng, BOTH[which], [o for o in BOTH if o != BOTH[which]])
        ends = f"Of the two lines, axes of symmetry are: {BOTH[which]}."
        return (Asked(say(rng, self.wording, SYMMETRY), answer, options, tuple(gold), ends), sheet)

    def changed(self, rng: Random, cells: int) -> tuple[Asked, Sheet]:
        """Which of four patterns another is, mirrored or turned."""
        change = rng.choice([*CHANGES])
        cells = min(cells, (self.width - 30) // (4 * 5))
        while True:
            pattern = _symmetric(rng, cells, [])
            results = {name: _changed(pattern, cells, name) for name in CHANGES}
            others = {*results.values(), pattern} - {results[change]}
            if len(others) >= 3:
                break
        wrong = sorted(others, key=sorted)
        rng.shuffle(wrong)
        if self.difficulty > 0.5:  # one cell off is harder to see than another turn
            wrong[0] = _one_moved(rng, results[change], cells, {*others, results[change]})
        place = rng.randrange(4)
        candidates = [*wrong[:3]]
        candidates.insert(place, results[change])
        sheet = self._rows(cells, pattern, candidates)
        first, match = (Box(1, sheet.box(n, 0, 0, cells), "") for n in (0, place + 1))
        marks = (Box(1, first.p, "original"), Box(1, match.p, LETTERS[place]))
        gold = (Step(say(rng, self.wording, CHOSEN), marks),)
        ends = f"The original, {change}, is {LETTERS[place]}."
        asked = say(rng, self.wording, CHANGED, change=change)
        return (Asked(asked, LETTERS[place], tuple(LETTERS[:4]), gold, ends), sheet)

    def _rows(self, cells: int, pattern: Pattern, candidates: Sequence[Pattern]) -> Sheet:
        """One pattern above, four below."""
        cell = min((self.width - 30) // (4 * cells), (self.height - 40) // (2 * cells))
        wide = cells * cell
        gap = (self.width - 4 * wide) // 5
        top, low = max(4, (self.height - 2 * wide - 30) // 3), self.height - wide - 18
        corners = [Point((self.width - wide) // 2, top)]
        corners += [Point(gap + n * (wide + gap), low) for n in range(4)]
        return Sheet(cells, cell, (pattern, *candidates), tuple(corners))


FAMILIES: dict[str, Callable[[Mirror, Random, int], tuple[Asked, Sheet]]] = {
    "missing": Mirror.missing,
    "symmetry": Mirror.symmetry,
    "changed": Mirror.changed,
}


def _moved(change: str, cells: int, cell: tuple[int, int]) -> tuple[int, int]:
    return CHANGES[change](cells, *cell)


def _changed(pattern: Pattern, cells: int, change: str) -> Pattern:
    return frozenset(_moved(change, cells, cell) for cell in pattern)


def _symmetric(rng: Random, cells: int, axes: Sequence[str]) -> Pattern:
    """Some cells, four or more and not all, symmetric about the axes named."""
    while True:
        share = rng.uniform(0.35, 0.6)
        pattern = frozenset(
            (x, y) for x in range(cells) for y in range(cells) if rng.random() < share
        )
        for axis in axes:
            kept = {c for c in pattern if c <= _moved(ACROSS[axis], cells, c)}
            pattern = frozenset(kept) | _changed(frozenset(kept), cells, ACROSS[axis])
        if 4 <= len(pattern) < cells * cells:
            return pattern


def _off(pattern: Pattern, cells: int, axis: str) -> list[tuple[int, int]]:
    """Filled cells without a partner across an axis."""
    return sorted(pattern - _changed(pattern, cells, ACROSS[axis]))


def _one_moved(rng: Random, pattern: Pattern, cells: int, taken: set[Pattern]) -> Pattern:
    """The pattern with one cell elsewhere, unlike all that are taken."""
    while True:
        full = sorted(pattern)
        empty = sorted({(x, y) for x in range(cells) for y in range(cells)} - pattern)
        other = (pattern - {rng.choice(full)}) | {rng.choice(empty)}
        if other not in taken:
            return other


def _draw(rng: Random, width: int, height: int, sheet: Sheet, colour: str) -> Pixels:
    pixels = paper(rng, width, height)
    for n, pattern in enumerate(sheet.patterns):
        for x in range(sheet.cells):
            for y in range(sheet.cells):
                first, last = sheet.box(n, x, y)
                filled = COLOURS[colour] if (x, y) in pattern else EMPTY
                cv2.rectangle(pixels, first, last, filled, -1)
                cv2.rectangle(pixels, first, last, EDGE, 1)
        if n:
            (x1, _), (x2, y2) = sheet.box(n, 0, 0, sheet.cells)
            caption(pixels, LETTERS[n - 1], Point((x1 + x2) // 2, y2 + 10), 12, INK)
    return pixels
