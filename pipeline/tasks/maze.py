"""Maze: follow a list of moves to the place they lead to, or find the only way and measure it.

Lines run from cell centre to cell centre, one for each straight run: what is walked stays on the
picture, and only lengths and corners are left to be counted.

Difficulty turns the size of the maze (3×3 to 9×9 cells), how winding it is, and the length of the way.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, NamedTuple

import cv2

from pipeline.images import Pixels, encode
from pipeline.tasks import Wording
from pipeline.tasks.phrasing import lettered, listed, near_numbers, plural, say
from pipeline.tasks.shapes import caption, paper
from pipeline.types import Box, Grid, Kind, Line, Modality, Op, Point, Problem, Scene, Step


class Cell(NamedTuple):
    column: int
    row: int


class Run(NamedTuple):
    """A straight part of the way."""

    start: Cell
    end: Cell

    @property
    def length(self) -> int:
        return abs(self.end.column - self.start.column) + abs(self.end.row - self.start.row)

    @property
    def heading(self) -> str:
        if self.end.column != self.start.column:
            return "right" if self.end.column > self.start.column else "left"
        return "down" if self.end.row > self.start.row else "up"


Passages = set[frozenset[Cell]]
LETTERS = "ABCD"
RUNS_A_STEP = 4
MOST_CELLS = 9
START, MARKER, WALL = (30, 140, 60), (40, 60, 160), (45, 45, 55)

FOLLOW = (
    "Starting at S, move {moves}. Which letter do you reach?",
    "You stand on S and go {moves}. Where do you end up?",
    "From S, follow these moves: {moves}. At which marked place do they end?",
    "Begin at the cell marked S. Go {moves}. Which mark are you on now?",
    "Which of the marked cells do you arrive at when you leave S and walk {moves}?",
)
MEASURE = (
    "How many cells must you move to get from S to {goal} without crossing a wall?",
    "What is the length, in moves of one cell, of the way from S to {goal}?",
    "Going from cell to cell, how many moves take you from S to {goal}?",
    "Walls block the way. How many single-cell moves lead from S to {goal}?",
    "Count the moves on the route from S to {goal}.",
)
TURNS = (
    "How often do you change direction on the way from S to {goal}?",
    "Walking from S to {goal} between the walls, how many times do you turn?",
    "How many corners does the route from S to {goal} have?",
    "Count the changes of direction on the only way from S to {goal}.",
    "On the route that leads from S to {goal}, how many turns are there?",
)
QUESTIONS = {"follow": FOLLOW, "measure": MEASURE, "turns": TURNS}
PLANS = (
    "I trace the way from S run by run: {moves}.",
    "Starting on S, the open cells lead {moves}. I draw that.",
    "Let me draw the way so that no wall is crossed: {moves}.",
    "From S I go {moves}, each part as a line through the middle of its cells.",
)
NEXT = (
    "The lines are on the corridor so far. Now {moves}.",
    "That part holds. I go on {moves}.",
    "From the end of the last line the way continues {moves}.",
)


@dataclass(frozen=True)
class Maze:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random) -> Problem:
        grid = self._grid(rng)
        passages = _carve(rng, grid, winding=0.4 + 0.6 * self.difficulty)
        start = Cell(rng.randrange(grid.columns), rng.randrange(grid.rows))
        ways = _ways(passages, start)
        length = rng.randint(2, max(2, round(_longest(ways) * (0.5 + 0.5 * self.difficulty))))
        way = rng.choice([way for way in ways.values() if len(way) - 1 == length])
        runs = _runs(way)
        others = [cell for cell in ways if cell not in (start, way[-1])]
        others.sort(key=lambda cell: (_steps(cell, way[-1]) > 2 + 2 * (1 - self.difficulty), cell))
        near = others[: max(6, len(others) // 2)]
        letter, *rest = rng.sample(LETTERS, 4)
        marks = {letter: way[-1], **dict(zip(rest, rng.sample(near, 3), strict=True))}
        family = rng.choice(list(QUESTIONS))
        asked, answer, options, kind = self._ask(rng, family, runs, letter, length)
        pixels = _draw(rng, self.width, self.height, grid, passages, {"S": start, **marks})
        return Problem(
            id="",
            task="maze",
            modality=Modality.IMAGE,
            images=(encode(pixels),),
            question=asked,
            options=options,
            answer=answer,
            kind=kind,
            difficulty=self.difficulty,
            gold=self._gold(rng, grid, runs),
            conclusion=_conclusion(asked, runs, length, letter),
            scene=Scene(
                objects=(*_lines(grid, runs), *_boxes(grid, {"S": start, **marks})),
                geometry=_geometry(grid, passages, {"S": start, **marks}, [family, letter]),
                grid=grid,
            ),
        )

    def _grid(self, rng: Random) -> Grid:
        """Square cells, at least 12 px wide, centred on the picture."""
        short = min(self.width, self.height)
        cells = 3 + round((MOST_CELLS - 3) * self.difficulty * rng.uniform(0.7, 1.0))
        cells = min(cells, (short - 4) // 12)
        cell = (short - 4) / cells
        columns = max(cells, min(int((self.width - 4) / cell), MOST_CELLS + 2))
        rows = max(cells, min(int((self.height - 4) / cell), MOST_CELLS + 2))
        left, top = (self.width - columns * cell) / 2, (self.height - rows * cell) / 2
        return Grid(round(left, 2), round(top, 2), round(cell, 2), columns, rows)

    def _ask(
        self, rng: Random, family: str, runs: Sequence[Run], letter: str, length: int
    ) -> tuple[str, str, tuple[str, ...], Kind]:
        """Question, answer, options and kind."""
        asked = say(rng, self.wording, QUESTIONS[family], moves=_spoken(runs), goal=letter)
        if family == "follow":
            return asked, letter, tuple(LETTERS), Kind.CHOICE
        value = length if family == "measure" else len(runs) - 1
        if rng.random() < 0.5:
            return asked, str(value), (), Kind.NUMBER
        options, answer = lettered(rng, str(value), near_numbers(rng, value, 3))
        return asked, answer, options, Kind.CHOICE

    def _gold(self, rng: Random, grid: Grid, runs: Sequence[Run]) -> tuple[Step, ...]:
        """The way, a few runs a step: a long way is drawn as a person would, bit by bit."""
        lines = _lines(grid, runs)
        steps = []
        for first in range(0, len(runs), RUNS_A_STEP):
            part = slice(first, first + RUNS_A_STEP)
            phrasings = NEXT if first else PLANS
            thought = say(rng, self.wording, phrasings, moves=_spoken(runs[part]))
            steps.append(Step(thought, tuple(lines[part])))
        return tuple(steps)


def _carve(rng: Random, grid: Grid, winding: float) -> Passages:
    """A spanning tree of the cells, grown from its newest cell with probability ``winding``."""
    start = Cell(rng.randrange(grid.columns), rng.randrange(grid.rows))
    reached, edge, passages = {start}, [start], set()
    while edge:
        place = -1 if rng.random() < winding else rng.randrange(len(edge))
        fresh = [cell for cell in _neighbours(edge[place], grid) if cell not in reached]
        if not fresh:
            edge.pop(place)
            continue
        cell = rng.choice(fresh)
        passages.add(frozenset((edge[place], cell)))
        reached.add(cell)
        edge.append(cell)
    return passages


def _neighbours(cell: Cell, grid: Grid) -> list[Cell]:
    column, row = cell
    around = (
        Cell(column + 1, row),
        Cell(column, row + 1),
        Cell(column - 1, row),
        Cell(column, row - 1),
    )
    return [c for c in around if 0 <= c.column < grid.columns and 0 <= c.row < grid.rows]


def _ways(passages: Passages, start: Cell) -> dict[Cell, list[Cell]]:
    """The only way from ``start`` to every cell, both ends included, in reading order."""
    links: dict[Cell, list[Cell]] = {}
    for a, b in sorted(map(sorted, passages)):
        links.setdefault(a, []).append(b)
        links.setdefault(b, []).append(a)
    ways = {start: [start]}
    edge = [start]
    for cell in edge:  # grows while it is walked
        for other in links[cell]:
            if other not in ways:
                ways[other] = [*ways[cell], other]
                edge.append(other)
    return dict(sorted(ways.items()))


def _longest(ways: dict[Cell, list[Cell]]) -> int:
    return max(len(way) for way in ways.values()) - 1


def _steps(a: Cell, b: Cell) -> int:
    return abs(a.column - b.column) + abs(a.row - b.row)


def _runs(way: Sequence[Cell]) -> list[Run]:
    runs = [Run(way[0], way[1])]
    for cell in way[2:]:
        onward = Run(runs[-1].end, cell)
        if onward.heading == runs[-1].heading:
            runs[-1] = Run(runs[-1].start, cell)
        else:
            runs.append(onward)
    return runs


def _spoken(runs: Sequence[Run]) -> str:
    return listed([f"{run.heading} {run.length}" for run in runs])


def _centre(grid: Grid, cell: Cell) -> Point:
    return Point(
        round(grid.left + (cell.column + 0.5) * grid.cell),
        round(grid.top + (cell.row + 0.5) * grid.cell),
    )


def _lines(grid: Grid, runs: Sequence[Run]) -> list[Op]:
    return [
        Line(1, (_centre(grid, run.start), _centre(grid, run.end)), str(n))
        for n, run in enumerate(runs, start=1)
    ]


def _boxes(grid: Grid, marks: dict[str, Cell]) -> list[Op]:
    half = round(grid.cell / 2) - 1
    centres = {name: _centre(grid, cell) for name, cell in marks.items()}
    return [
        Box(1, (Point(c.x - half, c.y - half), Point(c.x + half, c.y + half)), name)
        for name, c in centres.items()
    ]


def _conclusion(asked: str, runs: Sequence[Run], length: int, letter: str) -> str:
    """Says what the lines add up to; which number matters is known from the question."""
    turns = len(runs) - 1
    parts = " + ".join(str(run.length) for run in runs)
    total = f"{parts} = {length}" if turns else str(length)
    return (
        f"The lines lead from S to {letter} in {len(runs)} straight {plural('run', len(runs))}: "
        f"{total} {plural('move', length)}, {turns} {plural('turn', turns)}."
    )


def _draw(
    rng: Random, width: int, height: int, grid: Grid, passages: Passages, marks: dict[str, Cell]
) -> Pixels:
    pixels = paper(rng, width, height)
    pen = max(1, round(grid.cell / 14))
    for row in range(grid.rows + 1):
        for column in range(grid.columns + 1):
            corner = _corner(grid, column, row)
            if column < grid.columns and not _open(passages, column, row - 1, column, row):
                cv2.line(pixels, corner, _corner(grid, column + 1, row), WALL, pen)
            if row < grid.rows and not _open(passages, column - 1, row, column, row):
                cv2.line(pixels, corner, _corner(grid, column, row + 1), WALL, pen)
    tall = max(8, round(grid.cell * 0.6))
    for name, cell in marks.items():
        caption(pixels, name, _centre(grid, cell), tall, START if name == "S" else MARKER)
    return pixels


def _corner(grid: Grid, column: int, row: int) -> Point:
    return Point(round(grid.left + column * grid.cell), round(grid.top + row * grid.cell))


def _open(passages: Passages, *cells: int) -> bool:
    column, row, other_column, other_row = cells
    return frozenset((Cell(column, row), Cell(other_column, other_row))) in passages


def _geometry(grid: Grid, passages: Passages, marks: dict[str, Cell], asked: list[str]) -> str:
    walls = sorted(sorted(pair) for pair in passages)
    facts = {"size": [grid.columns, grid.rows], "open": walls, "marks": marks, "asked": asked}
    return json.dumps(facts, separators=(",", ":"))
