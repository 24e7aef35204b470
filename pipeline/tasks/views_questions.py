"""What the views task asks of a scene, and how one finds out: all told before anything is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, permutations
from random import Random
from typing import NamedTuple

from pipeline.tasks import Wording
from pipeline.tasks import views_phrases as phrases
from pipeline.tasks.phrasing import LETTERS, listed, plural, say
from pipeline.tasks.stage import Along, Around, Clue, Marks, Stage
from pipeline.types import Kind


@dataclass(frozen=True, slots=True)
class Plan:
    """A question, told to its end before anything is drawn."""

    question: str
    steps: tuple[tuple[str, Marks], ...]
    conclusion: str
    tags: tuple[tuple[int, int, str], ...]  # view, solid, text
    names: dict[int, str] = field(default_factory=dict)  # of the solids that are asked about


@dataclass(frozen=True, slots=True)
class Asker:
    """Who words a question: one problem's chance and its task's settings."""

    rng: Random
    wording: Wording
    difficulty: float

    @property
    def margin(self) -> float:
        """Units by which distances differ where it matters: more than solids differ in radius, so
        that it is the same whether one measures to a solid's front, middle or foot."""
        return 0.75 - 0.3 * self.difficulty

    def say(self, phrasings: Sequence[str], **facts: object) -> str:
        return say(self.rng, self.wording, phrasings, **facts)


def _same(asker: Asker, stage: Stage, wanted: int) -> Plan | None:
    """Tag 1 in the first picture; letters on four solids, alike if any are, in another."""
    solids = range(len(stage.solids))
    target = 0 if asker.rng.random() < asker.difficulty else asker.rng.choice(solids)
    clue = stage.clue(target, asker.margin)
    if clue is None:
        return None
    view = asker.rng.randrange(1, len(stage.cameras))
    twins = stage.alike(target, "colour", "form")
    others = [n for n in asker.rng.sample(solids, len(solids)) if n != target]
    four = sorted(others, key=lambda n: n not in twins)[:3]
    asker.rng.shuffle(four)
    four.insert(wanted, target)
    facts = {"views": len(stage.cameras), "k": view + 1, "letter": LETTERS[wanted]}
    facts |= {"t": 1, "tag": 1, "name": "object 1", "what": clue.text, "too": clue.too}
    return Plan(
        question=asker.say(phrases.SAME, **facts),
        steps=(
            (asker.say(phrases.FOUND, **facts), _found(0, target, clue)),
            (asker.say(phrases.SAME_AGAIN, **facts), _found(view, target, clue)),
        ),
        conclusion=asker.say(phrases.SAME_END, **facts),
        tags=((0, target, "1"), *((view, n, LETTERS[i]) for i, n in enumerate(four))),
        names={target: "object 1"},
    )


def _different(asker: Asker, stage: Stage, wanted: int) -> Plan | None:
    """A tag in each picture, on ``wanted`` different solids in all."""
    solids, views = range(len(stage.solids)), range(len(stage.cameras))
    twins = [0, *stage.alike(0, "colour", "form")] if asker.rng.random() < asker.difficulty else []
    chosen = sorted(asker.rng.sample(solids, len(solids)), key=lambda n: n not in twins)[:wanted]
    tagged = chosen + [asker.rng.choice(chosen) for _ in views[wanted:]]
    asker.rng.shuffle(tagged)
    clues = [clue for n in tagged if (clue := stage.clue(n, asker.margin))]
    if len(clues) < len(tagged):
        return None
    names = {n: f"object {i}" for i, n in enumerate(dict.fromkeys(tagged), start=1)}
    there = [f"in picture {v + 1} the {clues[v].text}" for v in views[1:]]
    held = [f"{names[n]} in {_pictures([v for v in views if tagged[v] == n])}" for n in names]
    first = {"t": 1, "tag": "X", "name": "object 1", "what": clues[0].text, "too": clues[0].too}
    facts = {"count": wanted, "objects": plural("object", wanted), "where": listed(held)}
    marks = [_found(v, tagged[v], clues[v]) for v in views]
    return Plan(
        question=asker.say(phrases.DIFFERENT, views=len(views)),
        steps=(
            (asker.say(phrases.FOUND, **first), marks[0]),
            (
                asker.say(phrases.DIFFERENT_AGAIN, where=listed(there)),
                list(chain.from_iterable(marks[1:])),
            ),
        ),
        conclusion=asker.say(phrases.DIFFERENT_END, **facts),
        tags=tuple((v, tagged[v], "X") for v in views),
        names=names,
    )


def _nearest(asker: Asker, stage: Stage, wanted: int) -> Plan | None:
    """Four tagged solids; the nearest to a camera, or the farthest, has letter ``wanted``."""
    view, shown = _asked(asker, stage)
    far = asker.rng.random() < 0.5
    four = asker.rng.sample(range(len(stage.solids)), 4)
    four.sort(key=lambda n: stage.distance(view, n), reverse=far)
    best, second = four[:2]
    if abs(stage.distance(view, best) - stage.distance(view, second)) < asker.margin:
        return None
    four = asker.rng.sample(four[1:], 3)
    four.insert(wanted, best)
    letters = {n: LETTERS[i] for i, n in enumerate(four)}
    facts: dict[str, object] = {"views": len(stage.cameras), "t": shown + 1, "k": view + 1}
    facts |= {"end": "farthest from" if far else "nearest to"}
    marks: Marks = [*(Around(view, n) for n in four), Along(view, None, best)]
    steps = [(asker.say(phrases.NEAREST_MARK, **facts), marks)]
    if shown != view:
        clues = [clue for n in four if (clue := stage.clue(n, asker.margin))]
        if len(clues) < len(four):
            return None
        listing = listed([f"{LETTERS[i]} is the {clue.text}" for i, clue in enumerate(clues)])
        find = asker.say(phrases.NEAREST_FIND, listing=listing, **facts)
        steps.insert(0, (find, [Around(shown, n) for n in four]))
    end = asker.say(phrases.NEAREST_END, letter=letters[best], next=letters[second], **facts)
    return Plan(
        question=asker.say(phrases.NEAREST, **facts),
        steps=tuple(steps),
        conclusion=end,
        tags=tuple((shown, n, letter) for n, letter in letters.items()),
        names={n: f"object {letter}" for n, letter in letters.items()},
    )


def _nearer(asker: Asker, stage: Stage, wanted: int) -> Plan | None:
    """One tagged solid that ``wanted`` others are nearer than."""
    view, shown = _asked(asker, stage)
    order = sorted(range(len(stage.solids)), key=lambda n: stage.distance(view, n))
    target, nearer = order[wanted], order[:wanted]
    away = stage.distance(view, target)
    if any(abs(stage.distance(view, n) - away) < asker.margin for n in order if n != target):
        return None
    names = stage.names()
    facts: dict[str, object] = {"views": len(stage.cameras), "t": shown + 1, "k": view + 1}
    facts |= {"count": wanted, "nearer": listed([names[n] for n in nearer] or ["none"])}
    steps: list[tuple[str, Marks]] = [
        (asker.say(phrases.NEARER_MARK, **facts), [Around(view, n) for n in (target, *nearer)])
    ]
    if shown != view:
        clue = stage.clue(target, asker.margin)
        if clue is None:
            return None
        found = {"t": shown + 1, "tag": 1, "name": "object 1", "what": clue.text, "too": clue.too}
        steps.insert(0, (asker.say(phrases.FOUND, **found), _found(shown, target, clue)))
    return Plan(
        question=asker.say(phrases.NEARER, **facts),
        steps=tuple(steps),
        conclusion=asker.say(phrases.NEARER_END, **facts),
        tags=((shown, target, "1"),),
        names={target: "object 1"},
    )


def _holds(asker: Asker, stage: Stage, wanted: int) -> Plan | None:
    """Two tagged solids that stand in a relation in ``wanted`` of the pictures."""
    views = range(len(stage.cameras))
    near = asker.rng.random() < 0.5
    pair = _pair(asker, stage, stage.distance if near else stage.sideways, wanted)
    if pair is None:
        return None
    one, two, held = pair
    first, second = stage.clue(one, asker.margin), stage.clue(two, asker.margin)
    if first is None or second is None:
        return None
    shown = views[:1] if asker.rng.random() < asker.difficulty else views
    facts: dict[str, object] = {"views": len(views), "count": wanted, "where": _pictures(held)}
    facts |= {"relation": "nearer to the camera than" if near else "to the left of"}
    facts |= {"tagged": "picture 1" if len(shown) == 1 else "all pictures"}
    start = asker.say(phrases.HOLDS_FIRST, one=first.text, two=second.text)
    marks: list[Marks] = [[Around(v, one), Around(v, two), Along(v, one, two)] for v in views]
    again = asker.say(phrases.HOLDS_AGAIN, others=_pictures(views[1:]))
    return Plan(
        question=asker.say(phrases.HOLDS, **facts),
        steps=((start, marks[0]), (again, list(chain.from_iterable(marks[1:])))),
        conclusion=asker.say(phrases.HOLDS_END, **facts),
        tags=tuple((v, n, text) for v in shown for n, text in ((one, "1"), (two, "2"))),
        names={one: "object 1", two: "object 2"},
    )


def _pair(
    asker: Asker, stage: Stage, measure: Callable[[int, int], float], wanted: int
) -> tuple[int, int, list[int]] | None:
    """Two solids, and the ``wanted`` views in which the first has less of what is measured."""
    views, solids = range(len(stage.cameras)), range(len(stage.solids))
    measured = [[measure(v, n) for n in solids] for v in views]
    pairs = list(permutations(solids, 2))
    asker.rng.shuffle(pairs)
    for one, two in pairs:
        ahead = [row[two] - row[one] for row in measured]
        held = [v for v in views if ahead[v] > 0]
        if len(held) == wanted and min(map(abs, ahead)) >= asker.margin:
            return one, two, held
    return None


def _asked(asker: Asker, stage: Stage) -> tuple[int, int]:
    """The view asked about and the one with the tags: the harder, the more often another."""
    view, other = asker.rng.sample(range(len(stage.cameras)), 2)
    return view, other if asker.rng.random() < asker.difficulty else view


def _found(view: int, solid: int, clue: Clue) -> Marks:
    """A box around a solid and, where its clue needs one, around its landmark, joined by a line."""
    if clue.landmark is None:
        return [Around(view, solid)]
    return [Around(view, solid), Around(view, clue.landmark), Along(view, solid, clue.landmark)]


def _pictures(views: Sequence[int]) -> str:
    if not views:
        return "no picture"
    return f"{plural('picture', len(views))} {listed([str(v + 1) for v in views])}"


def _letters(count: int, views: int) -> range:
    return range(4)


def _ranks(count: int, views: int) -> range:
    return range(count)


class Question(NamedTuple):
    plan: Callable[[Asker, Stage, int], Plan | None]  # of a scene and the wanted answer
    values: Callable[[int, int], range]  # answers there may be, by numbers of solids and of views
    lettered: bool = False  # the answer is a solid's letter in the picture


QUESTIONS: dict[Kind, tuple[Question, ...]] = {
    Kind.CHOICE: (
        Question(_same, _letters, lettered=True),
        Question(_nearest, _letters, lettered=True),
        Question(_nearer, _ranks),
    ),
    Kind.NUMBER: (
        Question(_different, lambda count, views: range(1, views + 1)),
        Question(_nearer, _ranks),
        Question(_holds, lambda count, views: range(views + 1)),
    ),
}
