"""Wires: follow one of several crossing wires from its plug to its socket, or back.

Wires run from column to column on lanes and change places in pairs, so that every crossing is a true
one and is counted exactly. Lines are drawn from bend to bend, one for each straight run: at a crossing
they keep to the wire, where an eye slips to another.

Difficulty turns the number of wires (2 to 7) and of columns (3 to 10), and how alike their colours are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import ClassVar

import cv2
import numpy as np

from pipeline.images import Pixels
from pipeline.tasks import Wording
from pipeline.tasks.phrasing import LETTERS, lettered, near_numbers, plural, say
from pipeline.tasks.posed import Asked, posed
from pipeline.tasks.shapes import COLOURS, caption, paper
from pipeline.types import Box, Line, Op, Point, Problem, Step

RUNS_A_STEP = 4
CURVE = 12  # straight pieces that a change of lanes is drawn in
HALO, INK = (250, 250, 250), (40, 60, 160)

END = (
    "To which socket does the wire from plug {plug} lead?",
    "Follow the wire that starts at {plug}. Where does it end?",
    "Plug {plug} is connected to one of the letters. Which one?",
    "At which letter do you arrive when you trace the wire from {plug}?",
    "Which socket is powered by plug {plug}?",
)
START = (
    "From which plug does the wire at socket {socket} come?",
    "Follow the wire from {socket} back. Where does it start?",
    "Socket {socket} is connected to one of the numbers. Which one?",
    "Which plug powers socket {socket}?",
    "At which number do you arrive when you trace the wire from {socket} back?",
)
CROSSINGS = (
    "How many times does the wire from plug {plug} cross another wire?",
    "Count the crossings on the wire that starts at {plug}.",
    "How often is the wire from plug {plug} crossed by others?",
    "On its way from {plug}, how many other wires' paths does the wire cut, counting every crossing?",
    "What is the number of crossings along the wire from plug {plug}?",
)
PLANS = (
    "I trace the wire from {begin}, one straight part after the other.",
    "Starting at {begin}, I draw along the wire from bend to bend.",
    "Let me follow the wire from {begin} with lines.",
    "At each crossing the wire goes straight on. I draw it from {begin}.",
)
NEXT = (
    "The lines lie on the wire so far. I go on from the last bend.",
    "That part holds. From there it continues.",
    "I continue from the end of the last line.",
)


@dataclass(frozen=True, slots=True)
class Board:
    """The lane of each wire at each column, top to bottom; where columns and lanes lie, px."""

    lanes: tuple[tuple[int, ...], ...]  # [wire][column]
    xs: tuple[int, ...]
    ys: tuple[int, ...]

    def at(self, wire: int, column: int) -> Point:
        return Point(self.xs[column], self.ys[self.lanes[wire][column]])

    def bends(self, wire: int) -> list[Point]:
        """Where its straight runs begin and end."""
        lanes, last = self.lanes[wire], len(self.xs) - 1
        inner = [c for c in range(1, last) if lanes[c] - lanes[c - 1] != lanes[c + 1] - lanes[c]]
        return [self.at(wire, column) for column in (0, *inner, last)]

    def crossings(self, wire: int) -> int:
        """Two wires cross where they change places, and nowhere else."""
        lanes = self.lanes[wire]
        return sum(a != b for a, b in pairwise(lanes))


@dataclass(frozen=True)
class Wires:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random) -> Problem:
        board = self._board(rng)
        count = len(board.lanes)
        colours = self._colours(rng, count)
        wire, family = rng.randrange(count), rng.choice(("end", "start", "crossings"))
        plug, socket = str(board.lanes[wire][0] + 1), LETTERS[board.lanes[wire][-1]]
        asked, answer, options = self._ask(rng, family, board, wire, plug, socket)
        back = family == "start"
        pixels = _draw(rng, self.width, self.height, board, colours)
        crossed = board.crossings(wire)
        ends = (
            f"The lines join plug {plug} and socket {socket}; "
            f"others cross them {crossed} {plural('time', crossed)}."
        )
        begin = socket if back else plug
        gold = self._gold(rng, board, wire, begin, back=back)
        facts = {"lanes": board.lanes, "xs": board.xs, "ys": board.ys, "colours": colours}
        marks = [*_lines(board.bends(wire), begin), *_marks(board)]
        found = Asked(asked, answer, options, gold, ends)
        return posed("wires", self.difficulty, pixels, found, marks, {**facts, "wire": wire})

    def _board(self, rng: Random) -> Board:
        """Wires that change places with their neighbours, at random, column by column."""
        count = 2 + round(rng.uniform(0.5, 1) * 5 * self.difficulty)
        columns = 3 + round(rng.uniform(0.5, 1) * 7 * self.difficulty)
        count = min(count, self.height // 22)
        columns = min(columns, self.width // 20)
        order = list(range(count))  # the wire on each lane
        rng.shuffle(order)
        history = [list(order)]
        for _ in range(columns):
            lane = 0
            while lane < count - 1:
                if rng.random() < 0.45:
                    order[lane], order[lane + 1] = order[lane + 1], order[lane]
                    lane += 1
                lane += 1
            history.append(list(order))
        lanes = tuple(tuple(row.index(wire) for row in history) for wire in range(count))
        side, top = max(16, self.width // 9), max(10, self.height // (2 * count + 2))
        xs = np.linspace(side, self.width - 1 - side, columns + 1).round().astype(int)
        ys = np.linspace(top, self.height - 1 - top, count).round().astype(int)
        return Board(lanes, tuple(xs.tolist()), tuple(ys.tolist()))

    def _colours(self, rng: Random, count: int) -> list[str]:
        """One colour each; the harder, the more of them share the first."""
        colours = rng.sample([*COLOURS], count)
        return [c if rng.random() > self.difficulty else colours[0] for c in colours]

    def _ask(
        self, rng: Random, family: str, board: Board, wire: int, plug: str, socket: str
    ) -> tuple[str, str, tuple[str, ...]]:
        """Question, answer and options."""
        count = len(board.lanes)
        if family == "crossings":
            crossed = board.crossings(wire)
            asked = say(rng, self.wording, CROSSINGS, plug=plug)
            if rng.random() < 0.7:
                return asked, str(crossed), ()
            options, answer = lettered(rng, str(crossed), near_numbers(rng, crossed, 3))
            return asked, answer, options
        if family == "end":
            return say(rng, self.wording, END, plug=plug), socket, tuple(LETTERS[:count])
        asked = say(rng, self.wording, START, socket=socket)
        return asked, LETTERS[int(plug) - 1], tuple(str(n + 1) for n in range(count))

    def _gold(
        self, rng: Random, board: Board, wire: int, begin: str, *, back: bool
    ) -> tuple[Step, ...]:
        bends = board.bends(wire)
        lines = _lines(bends[::-1] if back else bends, begin)
        steps = []
        for first in range(0, len(lines), RUNS_A_STEP):
            thought = say(rng, self.wording, NEXT if first else PLANS, begin=begin)
            steps.append(Step(thought, tuple(lines[first : first + RUNS_A_STEP])))
        return tuple(steps)


def _lines(bends: Sequence[Point], begin: str) -> list[Op]:
    return [Line(1, ends, f"{begin}.{n}") for n, ends in enumerate(pairwise(bends), start=1)]


def _marks(board: Board) -> list[Op]:
    """Boxes around plugs and sockets."""
    half = 7
    marks: list[Op] = []
    for column, names in ((0, "1234567"), (-1, LETTERS)):
        for y, name in zip(board.ys, names, strict=False):
            x = _beside(board, column)
            marks.append(Box(1, (Point(x - half, y - half), Point(x + half, y + half)), name))
    return marks


def _beside(board: Board, column: int) -> int:
    """Where the names of plugs (0) and sockets (-1) have their middle, px."""
    return board.xs[0] - 9 if column == 0 else board.xs[-1] + 9


def _draw(rng: Random, width: int, height: int, board: Board, colours: Sequence[str]) -> Pixels:
    pixels = paper(rng, width, height)
    pen = max(2, min(width, height) // 60)
    order = list(range(len(colours)))
    rng.shuffle(order)
    for column in range(len(board.xs) - 1):  # which is on top differs from crossing to crossing
        rng.shuffle(order)
        for wire in order:
            path = _piece(board.at(wire, column), board.at(wire, column + 1))
            cv2.polylines(pixels, [path[3:-3]], False, HALO, pen + 3, cv2.LINE_AA)
            cv2.polylines(pixels, [path], False, COLOURS[colours[wire]], pen, cv2.LINE_AA)
    for column, names in ((0, "1234567"), (-1, LETTERS)):
        for y, name in zip(board.ys, names, strict=False):
            caption(pixels, name, Point(_beside(board, column), y), 13, INK)
    return pixels


def _piece(start: Point, end: Point) -> np.ndarray:
    """Level, or a soft S from one lane to another: (points, 1, 2)."""
    share = np.linspace(0, 1, CURVE + 1)
    soft = (1 - np.cos(np.pi * share)) / 2
    xs, ys = start.x + share * (end.x - start.x), start.y + soft * (end.y - start.y)
    return np.stack([xs, ys], axis=1).round().astype(np.int32)[:, None]
