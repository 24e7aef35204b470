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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, permutations
from random import Random
from typing import ClassVar

from pipeline.images import encode
from pipeline.tasks import Wording
from pipeline.tasks import views_phrases as phrases
from pipeline.tasks.phrasing import LETTERS, lettered, listed, plural, say
from pipeline.tasks.shapes import COLOURS
from pipeline.tasks.solids import FORMS, SIZES
from pipeline.tasks.stage import (
    Along,
    Around,
    Clue,
    Marks,
    Shots,
    Stage,
    drawn,
    surrounded,
    uncrowded,
)
from pipeline.types import Box, Kind, Modality, Problem, Scene, Size, Step

ATTEMPTS = 4000  # the rarest question fits one scene in 60; most tries end before anything is drawn


@dataclass(frozen=True, slots=True)
class Plan:
    """A question, told to its end before anything is drawn."""

    question: str
    steps: tuple[tuple[str, Marks], ...]
    conclusion: str
    tags: tuple[tuple[int, int, str], ...]  # view, solid, text
    names: dict[int, str] = field(default_factory=dict)  # of the solids that are asked about


@dataclass(frozen=True)
class Views:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    @property
    def margin(self) -> float:
        """Units by which distances differ where it matters: more than solids differ in radius, so
        that it is the same whether one measures to a solid's front, middle or foot."""
        return 0.75 - 0.3 * self.difficulty

    def sample(self, rng: Random) -> Problem:
        kind = rng.choice(list(Kind))
        theme, values = rng.choice(THEMES[kind])
        least = max(4 if kind is Kind.CHOICE else 3, round(3 + 3 * self.difficulty))
        count = rng.randint(least, round(4 + 4 * self.difficulty))
        views = rng.randint(2, 2 + round(2 * self.difficulty))
        answers = values(count, views)
        wanted = rng.choice(answers)  # before the scene, so that every answer is equally likely
        stage, plan, shots = self._fitting(rng, theme, count, views, wanted)
        options: tuple[str, ...] = ()
        answer = str(wanted)
        if theme in (_same, _nearest):
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

    def say(self, rng: Random, phrasings: Sequence[str], **facts: object) -> str:
        return say(rng, self.wording, phrasings, **facts)

    def _fitting(
        self, rng: Random, theme: "Theme", count: int, views: int, wanted: int
    ) -> tuple[Stage, Plan, Shots]:
        """The first scene that the question fits, with the wanted answer."""
        size = Size(self.width, self.height)
        for _ in range(ATTEMPTS):
            stage = surrounded(rng, self._looks(rng, count), views, self.difficulty)
            plan = None if stage is None else theme(self, rng, stage, wanted)
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


def _same(task: Views, rng: Random, stage: Stage, wanted: int) -> Plan | None:
    """Tag 1 in the first picture; letters on four solids, alike if any are, in another."""
    solids = range(len(stage.solids))
    target = 0 if rng.random() < task.difficulty else rng.choice(solids)
    clue = stage.clue(target, task.margin)
    if clue is None:
        return None
    view = rng.randrange(1, len(stage.cameras))
    twins = stage.alike(target, "colour", "form")
    others = [n for n in rng.sample(solids, len(solids)) if n != target]
    four = sorted(others, key=lambda n: n not in twins)[:3]
    rng.shuffle(four)
    four.insert(wanted, target)
    facts = {"views": len(stage.cameras), "k": view + 1, "letter": LETTERS[wanted]}
    facts |= {"t": 1, "tag": 1, "name": "object 1", "what": clue.text, "too": clue.too}
    return Plan(
        question=task.say(rng, phrases.SAME, **facts),
        steps=(
            (task.say(rng, phrases.FOUND, **facts), _found(0, target, clue)),
            (task.say(rng, phrases.SAME_AGAIN, **facts), _found(view, target, clue)),
        ),
        conclusion=task.say(rng, phrases.SAME_END, **facts),
        tags=((0, target, "1"), *((view, n, LETTERS[i]) for i, n in enumerate(four))),
        names={target: "object 1"},
    )


def _different(task: Views, rng: Random, stage: Stage, wanted: int) -> Plan | None:
    """A tag in each picture, on ``wanted`` different solids in all."""
    solids, views = range(len(stage.solids)), range(len(stage.cameras))
    twins = [0, *stage.alike(0, "colour", "form")] if rng.random() < task.difficulty else []
    chosen = sorted(rng.sample(solids, len(solids)), key=lambda n: n not in twins)[:wanted]
    tagged = chosen + [rng.choice(chosen) for _ in views[wanted:]]
    rng.shuffle(tagged)
    clues = [clue for n in tagged if (clue := stage.clue(n, task.margin))]
    if len(clues) < len(tagged):
        return None
    names = {n: f"object {i}" for i, n in enumerate(dict.fromkeys(tagged), start=1)}
    there = [f"in picture {v + 1} the {clues[v].text}" for v in views[1:]]
    held = [f"{names[n]} in {_pictures([v for v in views if tagged[v] == n])}" for n in names]
    first = {"t": 1, "tag": "X", "name": "object 1", "what": clues[0].text, "too": clues[0].too}
    facts = {"count": wanted, "objects": plural("object", wanted), "where": listed(held)}
    marks = [_found(v, tagged[v], clues[v]) for v in views]
    return Plan(
        question=task.say(rng, phrases.DIFFERENT, views=len(views)),
        steps=(
            (task.say(rng, phrases.FOUND, **first), marks[0]),
            (
                task.say(rng, phrases.DIFFERENT_AGAIN, where=listed(there)),
                list(chain.from_iterable(marks[1:])),
            ),
        ),
        conclusion=task.say(rng, phrases.DIFFERENT_END, **facts),
        tags=tuple((v, tagged[v], "X") for v in views),
        names=names,
    )


def _nearest(task: Views, rng: Random, stage: Stage, wanted: int) -> Plan | None:
    """Four tagged solids; the nearest to a camera, or the farthest, has letter ``wanted``."""
    view, shown = _asked(task, rng, stage)
    far = rng.random() < 0.5
    four = rng.sample(range(len(stage.solids)), 4)
    four.sort(key=lambda n: stage.distance(view, n), reverse=far)
    best, second = four[:2]
    if abs(stage.distance(view, best) - stage.distance(view, second)) < task.margin:
        return None
    four = rng.sample(four[1:], 3)
    four.insert(wanted, best)
    letters = {n: LETTERS[i] for i, n in enumerate(four)}
    facts: dict[str, object] = {"views": len(stage.cameras), "t": shown + 1, "k": view + 1}
    facts |= {"end": "farthest from" if far else "nearest to"}
    marks: Marks = [*(Around(view, n) for n in four), Along(view, None, best)]
    steps = [(task.say(rng, phrases.NEAREST_MARK, **facts), marks)]
    if shown != view:
        clues = [clue for n in four if (clue := stage.clue(n, task.margin))]
        if len(clues) < len(four):
            return None
        listing = listed([f"{LETTERS[i]} is the {clue.text}" for i, clue in enumerate(clues)])
        find = task.say(rng, phrases.NEAREST_FIND, listing=listing, **facts)
        steps.insert(0, (find, [Around(shown, n) for n in four]))
    end = task.say(rng, phrases.NEAREST_END, letter=letters[best], next=letters[second], **facts)
    return Plan(
        question=task.say(rng, phrases.NEAREST, **facts),
        steps=tuple(steps),
        conclusion=end,
        tags=tuple((shown, n, letter) for n, letter in letters.items()),
        names={n: f"object {letter}" for n, letter in letters.items()},
    )


def _nearer(task: Views, rng: Random, stage: Stage, wanted: int) -> Plan | None:
    """One tagged solid that ``wanted`` others are nearer than."""
    view, shown = _asked(task, rng, stage)
    order = sorted(range(len(stage.solids)), key=lambda n: stage.distance(view, n))
    target, nearer = order[wanted], order[:wanted]
    away = stage.distance(view, target)
    if any(abs(stage.distance(view, n) - away) < task.margin for n in order if n != target):
        return None
    names = stage.names()
    facts: dict[str, object] = {"views": len(stage.cameras), "t": shown + 1, "k": view + 1}
    facts |= {"count": wanted, "nearer": listed([names[n] for n in nearer] or ["none"])}
    steps: list[tuple[str, Marks]] = [
        (task.say(rng, phrases.NEARER_MARK, **facts), [Around(view, n) for n in (target, *nearer)])
    ]
    if shown != view:
        clue = stage.clue(target, task.margin)
        if clue is None:
            return None
        found = {"t": shown + 1, "tag": 1, "name": "object 1", "what": clue.text, "too": clue.too}
        steps.insert(0, (task.say(rng, phrases.FOUND, **found), _found(shown, target, clue)))
    return Plan(
        question=task.say(rng, phrases.NEARER, **facts),
        steps=tuple(steps),
        conclusion=task.say(rng, phrases.NEARER_END, **facts),
        tags=((shown, target, "1"),),
        names={target: "object 1"},
    )


def _holds(task: Views, rng: Random, stage: Stage, wanted: int) -> Plan | None:
    """Two tagged solids that stand in a relation in ``wanted`` of the pictures."""
    views = range(len(stage.cameras))
    near = rng.random() < 0.5
    pair = _pair(task, rng, stage, stage.distance if near else stage.sideways, wanted)
    if pair is None:
        return None
    one, two, held = pair
    first, second = stage.clue(one, task.margin), stage.clue(two, task.margin)
    if first is None or second is None:
        return None
    shown = views[:1] if rng.random() < task.difficulty else views
    facts: dict[str, object] = {"views": len(views), "count": wanted, "where": _pictures(held)}
    facts |= {"relation": "nearer to the camera than" if near else "to the left of"}
    facts |= {"tagged": "picture 1" if len(shown) == 1 else "all pictures"}
    start = task.say(rng, phrases.HOLDS_FIRST, one=first.text, two=second.text)
    marks: list[Marks] = [[Around(v, one), Around(v, two), Along(v, one, two)] for v in views]
    again = task.say(rng, phrases.HOLDS_AGAIN, others=_pictures(views[1:]))
    return Plan(
        question=task.say(rng, phrases.HOLDS, **facts),
        steps=((start, marks[0]), (again, list(chain.from_iterable(marks[1:])))),
        conclusion=task.say(rng, phrases.HOLDS_END, **facts),
        tags=tuple((v, n, text) for v in shown for n, text in ((one, "1"), (two, "2"))),
        names={one: "object 1", two: "object 2"},
    )


def _pair(
    task: Views, rng: Random, stage: Stage, measure: Callable[[int, int], float], wanted: int
) -> tuple[int, int, list[int]] | None:
    """Two solids, and the ``wanted`` views in which the first has less of what is measured."""
    views, solids = range(len(stage.cameras)), range(len(stage.solids))
    measured = [[measure(v, n) for n in solids] for v in views]
    pairs = list(permutations(solids, 2))
    rng.shuffle(pairs)
    for one, two in pairs:
        ahead = [row[two] - row[one] for row in measured]
        held = [v for v in views if ahead[v] > 0]
        if len(held) == wanted and min(map(abs, ahead)) >= task.margin:
            return one, two, held
    return None


def _asked(task: Views, rng: Random, stage: Stage) -> tuple[int, int]:
    """The view asked about and the one with the tags: the harder, the more often another."""
    view, other = rng.sample(range(len(stage.cameras)), 2)
    return view, other if rng.random() < task.difficulty else view


def _found(view: int, solid: int, clue: Clue) -> Marks:
    """A box around a solid and, where its clue needs one, around its landmark, joined by a line."""
    if clue.landmark is None:
        return [Around(view, solid)]
    return [Around(view, solid), Around(view, clue.landmark), Along(view, solid, clue.landmark)]


def _pictures(views: Sequence[int]) -> str:
    if not views:
        return "no picture"
    return f"{plural('picture', len(views))} {listed([str(v + 1) for v in views])}"


def _geometry(stage: Stage, plan: Plan) -> str:
    """All that the problem follows from."""
    facts = {**stage.numbers(), "tags": plan.tags}
    return json.dumps(facts, separators=(",", ":"))


Theme = Callable[[Views, Random, Stage, int], Plan | None]
Values = Callable[[int, int], range]  # numbers of solids and of views to the answers there may be


def _letters(count: int, views: int) -> range:
    return range(4)


def _ranks(count: int, views: int) -> range:
    return range(count)


THEMES: dict[Kind, tuple[tuple[Theme, Values], ...]] = {
    Kind.CHOICE: ((_same, _letters), (_nearest, _letters), (_nearer, _ranks)),
    Kind.NUMBER: (
        (_different, lambda count, views: range(1, views + 1)),
        (_nearer, _ranks),
        (_holds, lambda count, views: range(views + 1)),
    ),
}
