"""What the turn task asks of a place, and how one finds out: all told before anything is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple

from pipeline.tasks import Wording
from pipeline.tasks import turn_phrases as phrases
from pipeline.tasks.heading import Place, Stance, wrapped
from pipeline.tasks.phrasing import SMALL, listed, plural, say
from pipeline.tasks.stage import Along, Around
from pipeline.types import Kind

SIDES = {1: "right", -1: "left"}
PLAIN = {"to your left": -90, "to your right": 90, "behind you": 180}  # degrees to the right
FINE = {
    "ahead of you on the left": -45,
    "ahead of you on the right": 45,
    "behind you on the left": -135,
    "behind you on the right": 135,
}
HALVES = {"anywhere on your left": -90, "anywhere on your right": 90, "behind you, not ahead": 180}
AIMS = {True: (30, 7, 20), False: (45, 10, 30)}  # from within or not: a turn's grain, how near to
# it what one then faces must be, and how far from it all others, degrees
SHOWN = "pictures 1 and 2"
MARGIN = 12  # degrees by which what is counted keeps clear of the sides' borders


class Ahead(NamedTuple):
    """A line up the middle of a view: what is straight ahead in it."""

    view: int


Mark = Around | Along | Ahead
Steps = Sequence[tuple[str, Sequence[Mark]]]


@dataclass(frozen=True, slots=True)
class Plan:
    """A question, told to its end before anything is drawn."""

    question: str
    right: str
    wrong: Sequence[str]  # of a choice
    steps: Steps
    conclusion: str
    asked: dict[str, Any]  # what is asked, in numbers


@dataclass(frozen=True, slots=True)
class Asker:
    """Who words a question: one problem's chance and its task's settings."""

    rng: Random
    wording: Wording
    difficulty: float
    width: int  # degrees that a picture shows, from within

    @property
    def most(self) -> int:
        """The largest number of solids that a question may count."""
        return 2 + round(2 * self.difficulty)

    def say(self, phrasings: Sequence[str], **facts: object) -> str:
        return say(self.rng, self.wording, phrasings, **facts)

    def intro(self, place: Place, *, telling: bool = True) -> str:
        """What the pictures are and, if the place tells it, how the camera turned."""
        views = len(place.stage.cameras)
        if not place.headings:
            return self.say(phrases.OUTSIDE, views=views)
        text = self.say(phrases.WITHIN, views=views, width=self.width)
        if place.told and telling:
            turns = [b - a for a, b in pairwise(place.headings)]
            facts = {"side": SIDES[-1 if turns[0] > 0 else 1]}
            facts["turns"] = listed([f"{abs(turn)}°" for turn in turns])
            text += self.say(phrases.TOLD, **facts)
        return text

    def stance(self, place: Place, ahead: int | None = None) -> Stance:
        """Somewhere to stand and to look; from within, a solid to look at may be given."""
        solids, names = range(len(place.stage.solids)), place.stage.names()
        view = start = None
        if not place.headings:
            start, ahead = self.rng.sample(solids, 2)
            text = self.say(phrases.STANDING, start=names[start], ahead=names[ahead])
            middle = place.angle(ahead, start)
        elif ahead is not None or self.rng.random() < 0.5:
            ahead = self.rng.choice(solids) if ahead is None else ahead
            text = self.say(phrases.FACING, ahead=names[ahead])
            middle = place.angle(ahead)
        else:
            view = self.rng.randrange(len(place.headings))
            text = self.say(phrases.AS_IN, k=view + 1)
            middle = place.headings[view]
        others = [n for n in solids if n not in (start, ahead)]
        bearings = {n: wrapped(middle - place.angle(n, start)) for n in others}
        return Stance(text, view, start, ahead, bearings)

    def anchored(self, place: Place, stance: Stance) -> Steps:
        """What is straight ahead, marked."""
        names = place.stage.names()
        if stance.view is not None:
            text = self.say(phrases.ANCHOR_AS_IN, k=stance.view + 1)
            return [(text, [Ahead(stance.view)])]
        assert stance.ahead is not None
        ahead = names[stance.ahead]
        if stance.start is None:
            view = place.best(stance.ahead)
            text = self.say(phrases.ANCHOR_FACING, ahead=ahead, k=view + 1)
            return [(text, [Around(view, stance.ahead)])]
        facts = {"start": names[stance.start], "ahead": ahead, "shown": SHOWN}
        marks: list[Mark] = []
        for view in (0, 1):
            marks += [Around(view, stance.start), Around(view, stance.ahead)]
            marks += [Along(view, stance.start, stance.ahead)]
        return [(self.say(phrases.ANCHOR_STANDING, **facts), marks)]

    def linked(self, place: Place, one: int, other: int) -> Steps:
        """What leads from one view to another, each time a solid that two views share."""
        names, links = place.stage.names(), place.links(one, other)
        shared = [f"the {names[n]} in pictures {v + 1} and {w + 1}" for v, w, n in links]
        if not shared:
            return []
        marks = [Around(view, n) for v, w, n in links for view in (v, w)]
        return [(self.say(phrases.LINKS, links=listed(shared)), marks)]

    def found(self, place: Place, stance: Stance, target: int) -> Steps:
        """What is straight ahead, then the way to a solid, and the solid."""
        names = place.stage.names()
        steps, facts = [*self.anchored(place, stance)], {"thing": names[target]}
        if stance.start is not None:
            facts |= {"start": names[stance.start], "shown": SHOWN}
            marks = [m for v in (0, 1) for m in (Around(v, target), Along(v, stance.start, target))]
            return [*steps, (self.say(phrases.TARGET_OUTSIDE, **facts), marks)]
        view = stance.view
        if view is None:
            assert stance.ahead is not None
            view = place.best(stance.ahead)
        best = place.best(target)
        steps += self.linked(place, view, best)
        facts["k"] = str(best + 1)
        return [*steps, (self.say(phrases.TARGET, **facts), [Around(best, target)])]


def _turn(asker: Asker, place: Place, wanted: int) -> tuple[Steps, dict[str, Any]]:
    """From one end of the chain of views to the other: how one finds out, and the facts."""
    ends = place.chain[0], place.chain[-1]
    i, j = ends if asker.rng.random() < 0.5 else ends[::-1]
    side = SIDES[1 if place.headings[j] < place.headings[i] else -1]
    facts = {"i": i + 1, "j": j + 1, "side": side, "turn": wanted}
    first = (asker.say(phrases.ENDS, **facts), [Ahead(i), Ahead(j)])
    return _fresh([first, *asker.linked(place, i, j)]), facts


def _turned(asker: Asker, place: Place, wanted: int) -> Plan:
    """Which way and how far the camera turned; the same and another angle, both ways."""
    steps, facts = _turn(asker, place, wanted)
    angles = _angles(asker, len(place.headings) - 1)
    at, count = angles.index(wanted), len(angles)
    shift = asker.rng.randrange(1, count)
    if asker.rng.random() >= asker.difficulty:  # far off; either way of choosing favours no angle
        shift = asker.rng.choice((count // 2, count - count // 2))
    other = angles[(at + shift) % count]
    right = f"{wanted}° to the {facts['side']}"
    every = [f"{a}° to the {side}" for a in (wanted, other) for side in SIDES.values()]
    ask = asker.say(phrases.TURNED, **facts)
    return Plan(
        f"{asker.intro(place, telling=False)} {ask}",
        right,
        [o for o in every if o != right],
        steps,
        asker.say(phrases.TURNED_END, **facts),
        {"ask": "turned", **facts},
    )


def _degrees(asker: Asker, place: Place, wanted: int) -> Plan:
    """How far the camera turned."""
    steps, facts = _turn(asker, place, wanted)
    intro, ask = asker.intro(place, telling=False), asker.say(phrases.DEGREES, **facts)
    end = asker.say(phrases.TURNED_END, **facts)
    return Plan(f"{intro} {ask}", str(wanted), (), steps, end, {"ask": "degrees", **facts})


def _face(asker: Asker, place: Place, wanted: int) -> Plan | None:
    """What is straight ahead after a turn by a round angle; three others are not."""
    stance, names = asker.stance(place), place.stage.names()
    grain, near, clear = AIMS[bool(place.headings)]
    target, *others = asker.rng.sample([*stance.bearings], len(stance.bearings))
    bearing = stance.bearings[target]
    turn = grain * round(bearing / grain)
    off = [abs(wrapped(stance.bearings[n] - turn)) for n in others]
    if abs(bearing - turn) > near or abs(turn) < 40 or min(off) < clear or len(others) < 3:
        return None
    facts = {"turn": abs(turn), "side": SIDES[1 if turn > 0 else -1]}
    so = phrases.FACE_SO.format(**facts)
    ask = asker.say(phrases.FACE, **facts)
    return Plan(
        f"{asker.intro(place)} {stance.text} {ask}",
        names[target],
        [names[n] for n in others[:3]],
        _fresh(asker.found(place, stance, target)),
        _ending(asker, names[target], bearing, so),
        {"ask": "face", **_asked(stance), "turn": turn},
    )


def _where(asker: Asker, place: Place, wanted: str) -> Plan | None:
    """On which side a solid is."""
    stance, names = asker.stance(place), place.stage.names()
    among = PLAIN if wanted in PLAIN else FINE
    fit = [n for n, b in stance.bearings.items() if abs(wrapped(b - among[wanted])) <= 28]
    if not fit:
        return None
    target = asker.rng.choice(fit)
    ask = asker.say(phrases.WHERE, thing=names[target])
    so = phrases.WHERE_SO.format(where=wanted)
    return Plan(
        f"{asker.intro(place)} {stance.text} {ask}",
        wanted,
        [where for where in among if where != wanted],
        _fresh(asker.found(place, stance, target)),
        _ending(asker, names[target], stance.bearings[target], so),
        {"ask": "where", **_asked(stance), "thing": target, "fine": among is FINE},
    )


def _passed(asker: Asker, place: Place, wanted: int) -> Plan:
    """How many solids one sees on the way from facing one to facing another."""
    names, order = place.stage.names(), place.ordered
    way = asker.rng.choice((1, -1))
    row = order if way > 0 else order[::-1]
    first = asker.rng.randrange(len(row) - wanted - 1)
    ahead, *passed, last = row[first : first + wanted + 2]
    stance = asker.stance(place, ahead)
    facts = {"side": SIDES[way], "last": names[last]}
    steps = [*asker.anchored(place, stance), *_counted(asker, place, passed)]
    steps.append((asker.say(phrases.LAST, **facts), [Around(place.best(last), last)]))
    ask, end = asker.say(phrases.PASSED, **facts), _tally(asker, wanted)
    asked = {"ask": "passed", **_asked(stance), "last": last, "side": SIDES[way]}
    question = f"{asker.intro(place)} {stance.text} {ask}"
    return Plan(question, str(wanted), (), _fresh(steps), end, asked)


def _side(asker: Asker, place: Place, wanted: int) -> Plan | None:
    """How many solids are on one side, all of that half around."""
    stance, side = asker.stance(place), asker.rng.choice([*HALVES])
    off = {n: abs(wrapped(b - HALVES[side])) for n, b in stance.bearings.items()}
    there = [n for n, away in off.items() if away < 90]
    if len(there) != wanted or min(abs(away - 90) for away in off.values()) < MARGIN:
        return None
    steps = [*asker.anchored(place, stance), *_counted(asker, place, there)]
    ask, end = asker.say(phrases.SIDE, where=side), _tally(asker, wanted)
    asked = {"ask": "side", **_asked(stance), "side": side}
    question = f"{asker.intro(place)} {stance.text} {ask}"
    return Plan(question, str(wanted), (), _fresh(steps), end, asked)


def _counted(asker: Asker, place: Place, solids: Sequence[int]) -> Steps:
    """A box around each, in one view; no step if there are none."""
    if not solids:
        return []
    names = place.stage.names()
    things = listed([f"the {names[n]}" for n in solids])
    marks = [Around(place.best(n), n) for n in solids]
    return [(asker.say(phrases.COUNTED, things=things), marks)]


def _tally(asker: Asker, count: int) -> str:
    facts = {"count": SMALL[count], "objects": plural("object", count)}
    return asker.say(phrases.COUNT_END, **facts)


def _ending(asker: Asker, thing: str, bearing: float, so: str) -> str:
    facts = {"bearing": 5 * round(abs(bearing) / 5), "way": SIDES[1 if bearing > 0 else -1]}
    return asker.say(phrases.BEARING_END, thing=thing, so=so, **facts)


def _asked(stance: Stance) -> dict[str, Any]:
    return {"view": stance.view, "start": stance.start, "ahead": stance.ahead}


def _fresh(steps: Steps) -> Steps:
    """Steps without marks that were made before, and without those that have none left."""
    made: list[Mark] = []
    fresh = []
    for text, marks in steps:
        if new := [mark for mark in dict.fromkeys(marks) if mark not in made]:
            fresh.append((text, new))
            made += new
    return fresh


def _angles(asker: Asker, hops: int) -> Sequence[int]:
    return range(20 * hops, 50 * hops + 1, 10)


def _anything(asker: Asker, hops: int) -> Sequence[int]:
    return (0,)


def _places(asker: Asker, hops: int) -> Sequence[str]:
    return tuple(FINE if asker.rng.random() < asker.difficulty else PLAIN)


def _counts(asker: Asker, hops: int) -> Sequence[int]:
    return range(asker.most + 1)


class Question(NamedTuple):
    plan: Callable[[Asker, Place, Any], Plan | None]  # of a place and the wanted answer
    values: Callable[[Asker, int], Sequence[Any]]  # that may be wanted, of a number of turns
    turning: bool = False  # is about the turns themselves
    within: bool = False  # is only asked of what is seen from within


QUESTIONS: dict[Kind, tuple[Question, ...]] = {
    Kind.CHOICE: (
        Question(_turned, _angles, turning=True, within=True),
        Question(_face, _anything),
        Question(_where, _places),
    ),
    Kind.NUMBER: (
        Question(_degrees, _angles, turning=True, within=True),
        Question(_passed, _counts, within=True),
        Question(_side, _counts),
    ),
}
