"""Counting: box every figure of a kind among figures that share its colour or its form.

Boxes keep a figure from being missed or counted twice.

Difficulty turns the number of targets (up to 12), the number and likeness of distractors, the size
of figures and how far they may cover one another. A figure always shows at least 65 % of its area.
"""

import json
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from pipeline import geometry
from pipeline.images import encode
from pipeline.tasks import Wording
from pipeline.tasks.phrasing import SMALL, lettered, near_numbers, plural, say
from pipeline.tasks.shapes import COLOURS, FIGURES, Figure, bounding_box, fill, paper, scatter
from pipeline.types import Box, Kind, Modality, Problem, Scene, Size, Step

QUESTIONS = (
    "How many {things} are in the picture?",
    "Count the {things}.",
    "What is the number of {things} shown here?",
    "Find every {thing} in the image. How many are there?",
    "How many of the figures are {things}?",
)
PLANS = (
    "I will put a box around every {thing} and then count the boxes.",
    "Let me mark each {thing} first, so that none is missed or counted twice.",
    "Only {things} count here; I box them one by one.",
    "There are figures of several kinds. I mark those that are {things}.",
)
CLOSINGS = (
    "The boxes hold all {things}: there {are} {count}.",
    "Every {thing} carries a box now, and no other figure does. That makes {count}.",
    "Counting the boxes gives {count}.",
    "I count {count} boxed {things}.",
)


@dataclass(frozen=True)
class Counting:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random) -> Problem:
        most = round(4 + 8 * self.difficulty)
        count = rng.randint(1, most)  # first, so that every answer is equally likely
        colour, form = rng.choice(list(COLOURS)), rng.choice(FIGURES)
        figures = self._scatter(rng, colour, form, count)
        pixels = paper(rng, self.width, self.height)
        for figure in figures:
            fill(pixels, figure.points, COLOURS[figure.colour])
        marks = [
            Box(1, geometry.clip_box(bounding_box(f.points), Size(self.width, self.height)), f.name)
            for f in figures
        ]
        thing = f"{colour} {form}"
        targets = tuple(sorted((m for m in marks if m.label == thing), key=lambda m: m.p))
        facts = {
            "thing": thing,
            "things": plural(thing, 2) if form != "cross" else f"{colour} crosses",
            "are": "is" if count == 1 else "are",
            "count": SMALL[count] if count < len(SMALL) else count,
        }
        kind = rng.choice(list(Kind))
        options: tuple[str, ...] = ()
        answer = str(count)
        if kind is Kind.CHOICE:
            options, answer = lettered(rng, str(count), near_numbers(rng, count, 3, low=0))
        return Problem(
            id="",
            task="counting",
            modality=Modality.IMAGE,
            images=(encode(pixels),),
            question=say(rng, self.wording, QUESTIONS, **facts),
            options=options,
            answer=answer,
            kind=kind,
            difficulty=self.difficulty,
            gold=(Step(say(rng, self.wording, PLANS, **facts), targets),),
            conclusion=say(rng, self.wording, CLOSINGS, **facts),
            scene=Scene(objects=tuple(marks), geometry=_geometry(thing, figures)),
        )

    def _scatter(self, rng: Random, colour: str, form: str, count: int) -> list[Figure]:
        """Targets and distractors, placed so that every figure stays recognisable."""
        others = round(rng.uniform(1, 3 + 7 * self.difficulty))
        kinds = [(colour, form)] * count + [self._other(rng, colour, form) for _ in range(others)]
        rng.shuffle(kinds)
        radius = min(self.width, self.height) * (0.11 - 0.03 * self.difficulty)
        # Figures may overlap by up to 0.4 radii at the highest difficulty, not at all at 0.
        gap = 1.02 - 0.22 * self.difficulty
        figures = scatter(rng, kinds, self.width, self.height, radius, gap)
        if sum((f.colour, f.form) == (colour, form) for f in figures) < count:
            raise ValueError(f"{count} figures do not fit on {self.width}×{self.height} px")
        return figures

    def _other(self, rng: Random, colour: str, form: str) -> tuple[str, str]:
        """A figure of another kind; the harder, the more often it shares colour or form."""
        colours = [c for c in COLOURS if c != colour]
        forms = [f for f in FIGURES if f != form]
        if rng.random() < 0.3 + 0.7 * self.difficulty:
            return (
                (colour, rng.choice(forms)) if rng.random() < 0.5 else (rng.choice(colours), form)
            )
        return rng.choice(colours), rng.choice(forms)


def _geometry(thing: str, figures: list[Figure]) -> str:
    rows = [[f.colour, f.form, f.x, f.y, f.radius, f.turn] for f in figures]
    return json.dumps({"target": thing, "figures": rows}, separators=(",", ":"))
