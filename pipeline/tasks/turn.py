"""Turn: where things are from where one stands and looks, and what a turn brings before one's eyes.

The scene is seen from within, by a camera that turns on the spot, each picture showing a part; or
from outside, by several cameras, and one imagines standing at one object and facing another.
Difficulty turns the number of solids (4..8) and of pictures (2..6), how many solids share a colour
or form, whether the turns between pictures are told or must be read off what two pictures share,
whether pictures are out of order, and how finely directions are told apart. Directions that matter
keep clear of every border between answers.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, ClassVar

from pipeline.images import encode
from pipeline.tasks import Wording
from pipeline.tasks.heading import Place
from pipeline.tasks.phrasing import lettered
from pipeline.tasks.shapes import COLOURS
from pipeline.tasks.solids import FORMS, SIZES
from pipeline.tasks.stage import (
    Shots,
    drawn,
    lens,
    surrounded,
    taken,
    uncrowded,
    width_of,
    within,
)
from pipeline.tasks.turn_questions import QUESTIONS, Ahead, Asker, Mark, Plan, Question
from pipeline.types import Box, Kind, Line, Modality, Op, Point, Problem, Scene, Size, Step

ATTEMPTS = 4000  # most end before anything is drawn


@dataclass(frozen=True)
class Turn:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random) -> Problem:
        kind = rng.choice(list(Kind))
        question = rng.choice(QUESTIONS[kind])
        asker = Asker(rng, self.wording, self.difficulty, width_of(self.size, lens(self.size)))
        hops = rng.randint(1, 1 + round(2 * self.difficulty)) if question.turning else 0
        wanted = rng.choice(question.values(asker, hops))  # first: every answer is equally likely
        inside = question.within or rng.random() < 0.5
        turns = _parts(rng, hops, wanted) if question.turning else []
        place, plan, shots = self._fitting(asker, question, wanted, inside, turns)
        options, answer = tuple[str, ...](), plan.right
        if kind is Kind.CHOICE:
            options, answer = lettered(rng, plan.right, plan.wrong)
        names = place.stage.names()
        views, solids = range(len(shots)), range(len(place.stage.solids))
        seen = [(v, n) for v in views for n in solids if shots[v][0].visible(n) > 0]
        return Problem(
            id="",
            task="turn",
            modality=Modality.VIEWS,
            images=tuple(encode(pixels) for _, pixels in shots),
            question=plan.question,
            options=options,
            answer=answer,
            kind=kind,
            difficulty=self.difficulty,
            gold=tuple(
                Step(thought, tuple(self._op(place, shots, names, mark) for mark in marks))
                for thought, marks in plan.steps
            ),
            conclusion=plan.conclusion,
            scene=Scene(
                tuple(Box(v + 1, shots[v][0].box(n), names[n]) for v, n in seen),
                json.dumps({**place.stage.numbers(), **plan.asked}, separators=(",", ":")),
            ),
        )

    @property
    def size(self) -> Size:
        return Size(self.width, self.height)

    def _fitting(
        self, asker: Asker, question: Question, wanted: Any, inside: bool, turns: Sequence[int]
    ) -> tuple[Place, Plan, Shots]:
        """The first scene that the question fits, with the wanted answer."""
        for _ in range(ATTEMPTS):
            place = self._within(asker, turns) if inside else self._outside(asker)
            plan = None if place is None else question.plan(asker, place, wanted)
            if place is None or plan is None:
                continue
            if inside:
                return place, plan, taken(place.stage, self.size)
            place = replace(place, stage=place.stage.framed(self.size))
            shots = uncrowded(place.stage, (), self.size, self.difficulty)
            if shots is not None:
                return place, plan, shots
        raise ValueError(f"no scene fits the question on {self.width}×{self.height} px")

    def _outside(self, asker: Asker) -> Place | None:
        rng = asker.rng
        count = rng.randint(6, 6 + round(2 * self.difficulty))
        views = rng.randint(2, 2 + round(self.difficulty))
        stage = surrounded(rng, self._looks(rng, count), views, self.difficulty)
        return None if stage is None else Place(stage)

    def _within(self, asker: Asker, turns: Sequence[int]) -> Place | None:
        """Pictures that are some turns apart, in order or not; any turns if none are given."""
        rng = asker.rng
        more = rng.randint(0, round(2 * self.difficulty))
        parts = turns or [rng.choice((30, 40, 50)) for _ in range(3 + more)]
        first = rng.randrange(360)
        headings = [first - sum(parts[:n]) for n in range(len(parts) + 1)]
        count = rng.randint(6, 6 + round(2 * self.difficulty))
        if turns:  # all must find room in what few pictures show
            count = len(turns) + rng.randint(1, 2)
        stage = within(rng, self._looks(rng, count), headings, self.size)
        if stage is None:
            return None
        order = list(range(len(headings)))
        told = rng.random() >= self.difficulty
        if rng.random() < self.difficulty and not told:
            rng.shuffle(order)
        elif rng.random() < 0.5:
            order.reverse()
        stage = replace(stage, cameras=tuple(stage.cameras[n] for n in order))
        return Place(stage, tuple(headings[n] for n in order), told)

    def _looks(self, rng: Random, count: int) -> list[tuple[str, str, str]]:
        """(form, colour, size), no two of one form and colour: the harder, the fewer of each."""
        colours = rng.sample([*COLOURS], max((count + 1) // 2, round(8 - 5 * self.difficulty)))
        forms = rng.sample([*FORMS], round(4 - 2 * self.difficulty))
        own = {colour: rng.sample(forms, len(forms)) for colour in colours}
        shades = [colours[n % len(colours)] for n in range(count)]
        looks = [(own[shade].pop(), shade, rng.choice([*SIZES])) for shade in shades]
        return rng.sample(looks, count)

    def _op(self, place: Place, shots: Shots, names: dict[int, str], mark: Mark) -> Op:
        if not isinstance(mark, Ahead):
            return drawn(mark, place.stage, shots, names, self.size)
        x = self.width // 2
        return Line(mark.view + 1, (Point(x, self.height - 1), Point(x, 0)), "straight ahead")


def _parts(rng: Random, hops: int, total: int) -> list[int]:
    """Turns of 20° to 50° that add up."""
    parts = [20] * hops
    for _ in range((total - sum(parts)) // 10):
        parts[rng.choice([n for n, part in enumerate(parts) if part < 50])] += 10
    return parts
