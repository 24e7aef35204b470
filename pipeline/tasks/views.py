"""Views: one scene of solids, seen by several cameras. Which object is it, and which is nearer?

Boxes give one object one name in all pictures. Lines join it to the landmark that it is known by, or
to the side that the camera stands on, so that distances can be compared.

Difficulty turns the number of solids (3..8) and of cameras (2..4), the angle between the cameras
(30..145°), how many solids look alike, how much is hidden, whether tags are shown in another
picture than the one asked about, and by how much distances that matter differ. Whatever must be
found again has a clue: a look of its own, or being nearest to (farthest from) a landmark, which is
a solid with a look of its own. Every solid shows at least half of itself in every picture.
"""

import json
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from pipeline.images import encode
from pipeline.tasks import Wording
from pipeline.tasks.phrasing import LETTERS, lettered
from pipeline.tasks.shapes import COLOURS
from pipeline.tasks.solids import FORMS, SIZES
from pipeline.tasks.stage import Shots, Stage, drawn, surrounded, uncrowded
from pipeline.tasks.views_questions import QUESTIONS, Asker, Plan, Question
from pipeline.types import Box, Kind, Modality, Problem, Scene, Size, Step

ATTEMPTS = 4000  # the rarest question fits one scene in 60; most tries end before anything is drawn


@dataclass(frozen=True)
class Views:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random) -> Problem:
        kind = rng.choice(list(Kind))
        question = rng.choice(QUESTIONS[kind])
        least = max(4 if kind is Kind.CHOICE else 3, round(3 + 3 * self.difficulty))
        count = rng.randint(least, round(4 + 4 * self.difficulty))
        views = rng.randint(2, 2 + round(2 * self.difficulty))
        answers = question.values(count, views)
        wanted = rng.choice(answers)  # before the scene, so that every answer is equally likely
        asker = Asker(rng, self.wording, self.difficulty)
        stage, plan, shots = self._fitting(asker, question, count, views, wanted)
        options: tuple[str, ...] = ()
        answer = str(wanted)
        if question.lettered:
            options, answer = tuple(LETTERS[n] for n in answers), LETTERS[wanted]
        elif kind is Kind.CHOICE:
            wrong = rng.sample([str(n) for n in answers if n != wanted], 3)
            options, answer = lettered(rng, answer, wrong)
        names, size = stage.names() | plan.names, Size(self.width, self.height)
        return Problem(
            id="",
            task="views",
            modality=Modality.VIEWS,
            images=tuple(encode(pixels) for _, pixels in shots),
            question=plan.question,
            options=options,
            answer=answer,
            kind=kind,
            difficulty=self.difficulty,
            gold=tuple(
                Step(thought, tuple(drawn(mark, stage, shots, names, size) for mark in marks))
                for thought, marks in plan.steps
            ),
            conclusion=plan.conclusion,
            scene=Scene(
                objects=tuple(
                    Box(view, shot.box(solid), names[solid])
                    for view, (shot, _) in enumerate(shots, start=1)
                    for solid in range(count)
                ),
                geometry=_geometry(stage, plan),
            ),
        )

    def _fitting(
        self, asker: Asker, question: Question, count: int, views: int, wanted: int
    ) -> tuple[Stage, Plan, Shots]:
        """The first scene that the question fits, with the wanted answer."""
        rng, size = asker.rng, Size(self.width, self.height)
        for _ in range(ATTEMPTS):
            stage = surrounded(rng, self._looks(rng, count), views, self.difficulty)
            plan = None if stage is None else question.plan(asker, stage, wanted)
            if stage is None or plan is None:
                continue
            stage = stage.framed(size)
            shots = uncrowded(stage, plan.tags, size, self.difficulty)
            if shots is not None:
                return stage, plan, shots
        raise ValueError(f"no scene of {count} solids fits on {self.width}×{self.height} px")

    def _looks(self, rng: Random, count: int) -> list[tuple[str, str, str]]:
        """(form, colour, size): the harder, the more look like the first. The last two never do."""
        forms, sizes = list(FORMS), list(SIZES)
        looks = [
            (rng.choice(forms), colour, rng.choice(sizes))
            for colour in rng.sample(list(COLOURS), count)
        ]
        form, colour, size = looks[0]
        for n in range(1, min(count - 2, 1 + count // 2)):
            if rng.random() < self.difficulty:
                own = size if rng.random() < self.difficulty / 2 else looks[n][2]
                looks[n] = (form, colour, own)
            elif rng.random() < 0.5:
                looks[n] = (form, *looks[n][1:])
        return looks


def _geometry(stage: Stage, plan: Plan) -> str:
    """All that the problem follows from."""
    facts = {**stage.numbers(), "tags": plan.tags}
    return json.dumps(facts, separators=(",", ":"))
