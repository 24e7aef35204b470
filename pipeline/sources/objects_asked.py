"""What is asked about annotated things: on which side, which is nearest, which is wider, how far.

Every family takes a `View` and gives a question whose answer nobody could doubt, or None. Two
readings of a question must agree where there are two: what is nearest is so by the middles of the
boxes and by the gaps between them, what is furthest to a side by its middle and by its edge.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from pipeline.sources import objects_phrases as phrases
from pipeline.tasks import Wording
from pipeline.tasks.phrasing import LETTERS, lettered, listed, say
from pipeline.tasks.posed import Asked
from pipeline.types import Box, Line, Point, Step

Span = tuple[float, float]

# Each side: the axis that it goes by, and the sign that makes "further" larger.
SIDES: dict[str, tuple[int, int]] = {
    "left": (0, -1),
    "right": (0, 1),
    "top": (1, -1),
    "bottom": (1, 1),
}
WHERE = {"left": "to the left of", "right": "to the right of", "top": "above", "bottom": "below"}
SIZES = {"widest": (0, 1), "narrowest": (0, -1), "tallest": (1, 1), "shortest": (1, -1)}
LENGTHS = "width", "height"  # by axis
WIDER = "wide", "tall"
TIMES = 1.1, 6.0  # the least and the largest ratio that is asked for as a number
ROUNDED = 0.02  # of a ratio; by how much whole px may change it
PART = 0.4  # of a box: with more of it inside another box it may be a part of that
STEADY = 16  # times `View.exact`: the least length in a ratio, which is then good to 5 %


@dataclass(frozen=True, slots=True)
class Thing:
    """An annotated object as shown."""

    name: str  # "spoon", or "stroke A" where letters are drawn
    called: str  # in a sentence: "the spoon"
    sided: bool  # its name gives a side away
    box: Box
    ends: tuple[Span, Span]  # left and right, top and bottom, px shown, before rounding

    @property
    def width(self) -> int:
        return self.box.p[1].x - self.box.p[0].x

    @property
    def height(self) -> int:
        return self.box.p[1].y - self.box.p[0].y

    @property
    def centre(self) -> Point:
        (left, top), (right, bottom) = self.box.p
        return Point((left + right) // 2, (top + bottom) // 2)


@dataclass(frozen=True, slots=True)
class View:
    """What can be asked about: things in random order, the letters' order where there are any."""

    things: tuple[Thing, ...]
    difficulty: float
    wording: Wording
    exact: Span  # px shown by which an edge may be off, across and down

    def times(self, easiest: float, hardest: float) -> float:
        """The least ratio that is asked about."""
        return easiest + (hardest - easiest) * self.difficulty

    def boxes(self, rng: Random, things: Sequence[Thing]) -> Step:
        named = listed([thing.called for thing in things])
        thought = say(rng, self.wording, phrases.BOXES, named=named)
        return Step(thought, tuple(thing.box for thing in things))


def _length(thing: Thing, axis: int) -> float:
    return thing.ends[axis][1] - thing.ends[axis][0]


def _middle(thing: Thing, axis: int) -> float:
    return sum(thing.ends[axis]) / 2


def _beyond(thing: Thing, other: Thing, side: str) -> float:
    """By how many px all of a thing lies further to a side than all of another; below 0, not so."""
    axis, sign = SIDES[side]
    if sign > 0:
        return thing.ends[axis][0] - other.ends[axis][1]
    return other.ends[axis][0] - thing.ends[axis][1]


def _gap(a: Thing, b: Thing) -> float:
    """px between two boxes; 0 if they touch."""
    apart = (
        max(0.0, a.ends[axis][0] - b.ends[axis][1], b.ends[axis][0] - a.ends[axis][1])
        for axis in (0, 1)
    )
    return math.hypot(*apart)


def _distance(a: Thing, b: Thing) -> float:
    return math.hypot(*(_middle(a, axis) - _middle(b, axis) for axis in (0, 1)))


def _parted(things: Sequence[Thing]) -> bool:
    """Whether no thing is a part of another, so that it makes sense to ask how they lie."""
    return all(
        _shared(a, b) <= PART * min(_area(a), _area(b))
        for n, a in enumerate(things)
        for b in things[:n]
    )


def _area(thing: Thing) -> float:
    return _length(thing, 0) * _length(thing, 1)


def _shared(a: Thing, b: Thing) -> float:
    """px² that two boxes share."""
    across, down = (
        min(a.ends[axis][1], b.ends[axis][1]) - max(a.ends[axis][0], b.ends[axis][0])
        for axis in (0, 1)
    )
    return max(0.0, across) * max(0.0, down)


def _options(things: Sequence[Thing], right: Thing) -> tuple[tuple[str, ...], str]:
    """Names in the order given, which is random, so that drawn letters are the options' letters."""
    return tuple(thing.name for thing in things), LETTERS[things.index(right)]


def side(rng: Random, view: View) -> Asked | None:
    """On which side of one thing another lies: past it, and clearly more along one axis."""
    first, second = view.things
    if first.sided or second.sided:
        return None
    away = [_middle(first, axis) - _middle(second, axis) for axis in (0, 1)]
    axis = int(abs(away[1]) > abs(away[0]))
    where = next(s for s, (a, sign) in SIDES.items() if a == axis and sign * away[axis] > 0)
    clear = abs(away[axis]) >= view.times(2.2, 1.4) * abs(away[1 - axis])
    if not clear or _beyond(first, second, where) < -view.exact[axis]:
        return None
    wrong = [words for name, words in WHERE.items() if name != where]
    options, answer = lettered(rng, WHERE[where], wrong)
    facts = {"first": first.called, "second": second.called, "where": WHERE[where]}
    gold = (view.boxes(rng, (first, second)),)
    ends = say(rng, view.wording, phrases.SIDE_ENDS, **facts)
    return Asked(say(rng, view.wording, phrases.SIDE, **facts), answer, options, gold, ends)


def furthest(rng: Random, view: View) -> Asked | None:
    """Which thing is furthest to one side of the picture, by its middle and by its edge."""
    if any(thing.sided for thing in view.things) or not _parted(view.things):
        return None
    where = rng.choice([*SIDES])
    axis, sign = SIDES[where]
    best, second = sorted(view.things, key=lambda t: -sign * _middle(t, axis))[:2]
    edge = max(0, sign)
    least = max(view.times(14, 5), 3 * view.exact[axis])
    ahead = [sign * (best.ends[axis][edge] - t.ends[axis][edge]) for t in view.things if t != best]
    if sign * (_middle(best, axis) - _middle(second, axis)) < least or min(ahead) < least:
        return None
    options, answer = _options(view.things, best)
    named = listed([thing.called for thing in view.things], "or")
    facts = {"side": where, "best": best.called, "named": named}
    gold = (view.boxes(rng, view.things),)
    ends = say(rng, view.wording, phrases.FURTHEST_ENDS, **facts)
    return Asked(say(rng, view.wording, phrases.FURTHEST, **facts), answer, options, gold, ends)


def nearest(rng: Random, view: View) -> Asked | None:
    """Which thing is nearest to, or farthest from, the last one: by middles and by gaps."""
    if not _parted(view.things):
        return None
    *others, last = view.things
    sign, most = rng.choice(((1, "nearest to"), (-1, "farthest from")))
    best, second = sorted(others, key=lambda t: sign * _distance(t, last))[:2]
    low, high = sorted((_distance(best, last), _distance(second, last)))
    off = 2 * max(view.exact)
    if high < view.times(1.6, 1.2) * low or high - low < off:
        return None
    if any(sign * (_gap(t, last) - _gap(best, last)) < off for t in others if t != best):
        return None
    options, answer = _options(others, best)
    facts = {
        "most": most,
        "last": last.called,
        "named": listed([thing.called for thing in others], "or"),
        "all": listed([thing.called for thing in others]),
        "best": best.called,
        "long": "shortest" if sign > 0 else "longest",
    }
    gold = view.boxes(rng, view.things), _lines(rng, view, last, others)
    ends = say(rng, view.wording, phrases.NEAREST_ENDS, **facts)
    return Asked(say(rng, view.wording, phrases.NEAREST, **facts), answer, options, gold, ends)


def _lines(rng: Random, view: View, start: Thing, others: Sequence[Thing]) -> Step:
    lines = tuple(Line(1, (start.centre, t.centre), f"to {t.name}") for t in others)
    return Step(say(rng, view.wording, phrases.LINES, last=start.called), lines)


def size(rng: Random, view: View) -> Asked | None:
    """Which thing is widest, narrowest, tallest or shortest."""
    most = rng.choice([*SIZES])
    axis, sign = SIZES[most]
    best, second = sorted(view.things, key=lambda t: -sign * _length(t, axis))[:2]
    low, high = sorted((_length(best, axis), _length(second, axis)))
    if high < view.times(1.5, 1.15) * low or high - low < 4 * view.exact[axis]:
        return None
    options, answer = _options(view.things, best)
    lengths = [(t.width, t.height)[axis] for t in view.things]
    facts = {
        "most": most,
        "length": LENGTHS[axis],
        "named": listed([thing.called for thing in view.things], "or"),
        "all": listed([thing.called for thing in view.things]),
        "best": best.called,
        "lengths": listed([str(length) for length in lengths]),
    }
    gold = (view.boxes(rng, view.things),)
    ends = say(rng, view.wording, phrases.SIZE_ENDS, **facts)
    return Asked(say(rng, view.wording, phrases.SIZE, **facts), answer, options, gold, ends)


def ratio(rng: Random, view: View) -> Asked | None:
    """How many times as wide, or as tall, as one thing another is."""
    axis = rng.randrange(2)
    less, more = sorted(view.things, key=lambda t: _length(t, axis))
    lines = [_across(thing, axis) for thing in (more, less)]
    long, short = (line.p[1][axis] - line.p[0][axis] for line in lines)
    true = _length(more, axis) / _length(less, axis)
    if _length(less, axis) < STEADY * view.exact[axis]:
        return None
    if not TIMES[0] <= true <= TIMES[1] or abs(long / short / true - 1) > ROUNDED:
        return None
    facts = {
        "wide": WIDER[axis],
        "length": LENGTHS[axis],
        "more": more.called,
        "less": less.called,
        "long": long,
        "short": short,
        "ratio": f"{long / short:.2f}",
    }
    lengths = Step(say(rng, view.wording, phrases.RATIO_LINES, **facts), tuple(lines))
    gold = view.boxes(rng, (more, less)), lengths
    ends = say(rng, view.wording, phrases.RATIO_ENDS, **facts)
    return Asked(
        say(rng, view.wording, phrases.RATIO, **facts), f"{long / short:.2f}", (), gold, ends
    )


def _across(thing: Thing, axis: int) -> Line:
    """A line through the middle of a box, from one of its edges to the other."""
    first, last = thing.box.p
    x, y = thing.centre
    ends = (
        (Point(first.x, y), Point(last.x, y))
        if axis == 0
        else (Point(x, first.y), Point(x, last.y))
    )
    return Line(1, ends, f"{LENGTHS[axis]} of {thing.name}")


def apart(rng: Random, view: View) -> Asked | None:
    """How many times as far from the last thing as one thing another is, middle to middle."""
    *others, last = view.things
    near, far = sorted(others, key=lambda t: _distance(t, last))
    short, long = (math.dist(last.centre, thing.centre) for thing in (near, far))
    if not _parted(view.things) or _distance(near, last) < STEADY * max(view.exact):
        return None
    true = _distance(far, last) / _distance(near, last)
    if not TIMES[0] <= true <= TIMES[1] or abs(long / short / true - 1) > ROUNDED:
        return None
    facts = {
        "far": far.called,
        "near": near.called,
        "last": last.called,
        "long": round(long),
        "short": round(short),
        "ratio": f"{long / short:.2f}",
    }
    gold = view.boxes(rng, view.things), _lines(rng, view, last, (far, near))
    ends = say(rng, view.wording, phrases.APART_ENDS, **facts)
    return Asked(
        say(rng, view.wording, phrases.APART, **facts), f"{long / short:.2f}", (), gold, ends
    )


def number(rng: Random, view: View) -> Asked | None:
    """How many of some things lie all on one side of the last one; none lies half there."""
    *others, last = view.things
    if any(thing.sided for thing in view.things):
        return None
    counts: dict[int, list[str]] = {}
    for where in SIDES:
        if (found := _on(view, others, last, where)) is not None:
            counts.setdefault(found, []).append(where)
    if not counts:
        return None
    count = rng.choice(sorted(counts))  # first, so that none is much more frequent
    where = rng.choice(counts[count])
    facts = {
        "where": WHERE[where],
        "last": last.called,
        "named": listed([thing.called for thing in others]),
        "count": count,
        "lie": "lies" if count == 1 else "lie",
    }
    gold = view.boxes(rng, (last,)), view.boxes(rng, others)
    ends = say(rng, view.wording, phrases.NUMBER_ENDS, **facts)
    return Asked(say(rng, view.wording, phrases.NUMBER, **facts), str(count), (), gold, ends)


def _on(view: View, others: Sequence[Thing], last: Thing, where: str) -> int | None:
    """How many lie on that side of the last one; None if one lies neither there nor opposite."""
    axis, sign = SIDES[where]
    opposite = next(side for side, found in SIDES.items() if found == (axis, -sign))
    there = sum(_beyond(thing, last, where) >= view.exact[axis] for thing in others)
    elsewhere = sum(_beyond(thing, last, opposite) >= view.exact[axis] for thing in others)
    return there if there + elsewhere == len(others) else None


# Each family: how many things it takes at least and at most.
FAMILIES: dict[str, tuple[int, int, Callable[[Random, View], Asked | None]]] = {
    "side": (2, 2, side),
    "furthest": (2, 4, furthest),
    "nearest": (3, 5, nearest),
    "size": (2, 4, size),
    "ratio": (2, 2, ratio),
    "apart": (3, 3, apart),
    "number": (3, 5, number),
}
