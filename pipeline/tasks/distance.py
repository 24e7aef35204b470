"""Distance: lengths and sizes compared and measured: which dots are furthest apart, which segment is
longest whatever fins it wears, which figure is tallest, how long something is by a scale bar, how
often one segment fits into another. The gold solution draws over what is measured.

Difficulty turns the number of candidates (3 to 5), how close a call it is, how differently they are
turned, how many segments wear fins that make them look longer or shorter, and half units.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from random import Random
from typing import ClassVar

from pipeline import geometry
from pipeline.tasks import Wording
from pipeline.tasks import distance_phrases as phrases
from pipeline.tasks.phrasing import lettered, number_to_ask, plural, say
from pipeline.tasks.posed import Asked, posed
from pipeline.tasks.shapes import (
    COLOURS,
    FIGURES,
    Figure,
    bounding_box,
    outline,
    paper,
)
from pipeline.tasks.spans import Scale, Sheet, Span, apart, draw, fin, pen, pieces
from pipeline.types import Box, Line, Op, Point, Problem, Size, Step

ATTEMPTS = 400
LEAST = 5.0  # px by which the right candidate is ahead, before ends are rounded to whole pixels
UNIT = 14  # px of a scale bar, or of a segment that is laid along another, at the least
VALUES = (2, 4, 10, 20, 50, 100)  # of a scale bar; halves of them are whole
MEASURES = ("mm", "cm", "m", "km")
STRIP = 32  # px at the bottom that belong to the scale bar

Found = tuple[Asked, Sheet]


@dataclass(frozen=True)
class Distance:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random) -> Problem:
        asked, sheet = FAMILIES[rng.choice([*FAMILIES])](self, rng)
        marks: list[Op] = [_along(sheet.spans, colour) for colour in sheet.spans]
        marks += map(self._box, sheet.figures)
        if sheet.scale:
            marks.append(Line(1, sheet.scale.bar, "scale bar"))
        facts = {
            "spans": sheet.spans,
            "dots": sheet.dots,
            "fins": sheet.fins,
            "scale": sheet.scale,
            "figures": [[f.colour, f.form, f.x, f.y, f.radius, f.turn] for f in sheet.figures],
        }
        pixels = draw(paper(rng, self.width, self.height), sheet)
        return posed("distance", self.difficulty, pixels, asked, marks, facts)

    @property
    def _side(self) -> int:
        return min(self.width, self.height)

    def _count(self, rng: Random) -> int:
        return 3 + round(rng.uniform(0.4, 1) * 2 * self.difficulty)

    def _lengths(self, rng: Random, count: int, high: float, *, largest: bool) -> list[float]:
        """Lengths up to ``high``, px: the one asked for, its closest rival, and others."""
        base = high * (rng.uniform(0.8, 1) if largest else rng.uniform(0.4, 0.6))
        margin = max(LEAST, base * (0.25 - 0.18 * self.difficulty))
        ahead = [rng.uniform(1, 1.3), *(rng.uniform(1, 2.5) for _ in range(count - 2))]
        sign = -1 if largest else 1
        return [base, *(base + sign * margin * share for share in ahead)]

    def _placed(
        self, rng: Random, trials: Iterable[Sequence[float]], *, dots: bool, floor: int = 0
    ) -> list[Span]:
        """Spans of the first lengths that there is room for, in px: apart from one another and from
        the lowest ``floor`` px."""
        for lengths in trials:
            spans: list[Span] = []
            for length in lengths:
                tried = (self._span(rng, length, floor) for _ in range(40))
                found = next((s for s in tried if s and self._free(s, spans, dots)), None)
                if found is None:
                    break
                spans.append(found)
            else:
                return spans
        raise ValueError(f"no room for spans on {self.width}×{self.height} px")

    def _span(self, rng: Random, length: float, floor: int) -> Span | None:
        """A span anywhere; the harder, the further turned from level."""
        turn = rng.uniform(-1, 1) * math.pi / 2 * max(0.15, self.difficulty)
        across, down = length * math.cos(turn), length * math.sin(turn)
        edge = fin(self._side) + 4
        left, right = edge, self.width - 1 - edge - across
        top, bottom = edge + max(0, -down), self.height - 1 - max(edge, floor) - max(0, down)
        if right < left or bottom < top:
            return None
        x, y = rng.uniform(left, right), rng.uniform(top, bottom)
        return Point(round(x), round(y)), Point(round(x + across), round(y + down))

    def _free(self, span: Span, others: Sequence[Span], dots: bool) -> bool:
        if dots:
            gap = 3 * pen(self._side) + 4
            return all(math.dist(p, q) >= gap for other in others for p in span for q in other)
        return all(apart(span, other, fin(self._side) + 5) for other in others)

    def pairs(self, rng: Random) -> Found:
        """Which two dots of a colour are furthest from each other, or nearest."""
        most = rng.choice(("furthest apart", "closest together"))
        asked, spans = self._compared(rng, phrases.PAIRS, most, phrases.JOINED, dots=True)
        return asked, Sheet(spans, dots=True)

    def segments(self, rng: Random) -> Found:
        """Which segment is longest, or shortest; fins deceive."""
        most = rng.choice(("longest", "shortest"))
        asked, spans = self._compared(rng, phrases.SEGMENTS, most, phrases.TRACED, dots=False)
        worn = [
            rng.choice((1, -1)) if rng.random() < 0.9 * self.difficulty else 0
            for _ in range(len(spans))
        ]
        if any(worn):
            asked = asked._replace(question=asked.question + phrases.FINS)
        return asked, Sheet(spans, fins=dict(zip(spans, worn, strict=True)))

    def _compared(
        self,
        rng: Random,
        questions: Sequence[str],
        most: str,
        thoughts: Sequence[str],
        *,
        dots: bool,
    ) -> tuple[Asked, dict[str, Span]]:
        """Spans of different colours, of which one is the longest, or shortest, as asked for."""
        largest, count = most in ("furthest apart", "longest"), self._count(rng)
        high = 0.65 * self._side
        trials = (
            self._lengths(rng, count, high * max(0.75, 0.995**n), largest=largest)
            for n in range(ATTEMPTS)
        )
        spans = self._placed(rng, trials, dots=dots)
        colours = rng.sample([*COLOURS], count)
        options, answer = lettered(rng, colours[0], colours[1:])
        by_colour = dict(zip(colours, spans, strict=True))
        ordered = {colour: by_colour[colour] for colour in options}
        lines = tuple(_along(ordered, colour) for colour in ordered)
        gold = (Step(say(rng, self.wording, thoughts), lines),)
        ends = f"The {colours[0]} line is the {'longest' if largest else 'shortest'}."
        question = say(rng, self.wording, questions, most=most)
        return Asked(question, answer, options, gold, ends), ordered

    def figures(self, rng: Random) -> Found:
        """Which of some figures of different forms extends furthest in one direction, or least."""
        most, axis = rng.choice(("most", "least")), rng.randrange(2)
        count = self._count(rng)
        placed = self._figures(rng, count, axis, largest=most == "most")
        options, answer = lettered(rng, placed[0].name, [f.name for f in placed[1:]])
        by_name = {figure.name: figure for figure in placed}
        boxes = tuple(self._box(by_name[name]) for name in options)
        side, end = (("left", "right"), ("top", "bottom"))[axis]
        gold = (Step(say(rng, self.wording, phrases.BOXED), boxes),)
        ends = f"The box of the {placed[0].name} measures the {most} from {side} to {end}."
        question = say(rng, self.wording, phrases.FIGURE, most=most, side=side, end=end)
        asked = Asked(question, answer, options, gold, ends)
        return asked, Sheet(figures=tuple(by_name[name] for name in options))

    def _figures(self, rng: Random, count: int, axis: int, *, largest: bool) -> list[Figure]:
        for attempt in range(ATTEMPTS):
            high = 0.36 * self._side * max(0.75, 0.995**attempt)
            lengths = self._lengths(rng, count, high, largest=largest)
            colours, forms = rng.sample([*COLOURS], count), rng.sample(FIGURES, count)
            figures: list[Figure] = []
            for length, colour, form in zip(lengths, colours, forms, strict=True):
                tried = (self._figure(rng, colour, form, length, axis) for _ in range(30))
                free = (f for f in tried if f and all(_clear(f, other) for other in figures))
                if (figure := next(free, None)) is None:
                    break
                figures.append(figure)
            else:
                return figures
        raise ValueError(f"no room for {count} figures on {self.width}×{self.height} px")

    def _figure(
        self, rng: Random, colour: str, form: str, length: float, axis: int
    ) -> Figure | None:
        """A figure that extends ``length`` px along an axis, anywhere on the picture."""
        turn = round(rng.uniform(-0.4, 0.4) * self.difficulty, 2)
        xs, ys = zip(*outline(form, 0, 0, 1, turn), strict=True)
        radius = round(length / (max((xs, ys)[axis]) - min((xs, ys)[axis])), 2)
        left, right = 2 - radius * min(xs), self.width - 3 - radius * max(xs)
        top, bottom = 2 - radius * min(ys), self.height - 3 - radius * max(ys)
        if right < left or bottom < top:
            return None
        x, y = round(rng.uniform(left, right), 1), round(rng.uniform(top, bottom), 1)
        return Figure(colour, form, x, y, radius, turn)

    def scale(self, rng: Random) -> Found:
        """How far two dots are apart by a scale bar, in whole bars, or in halves as well."""
        value, unit = rng.choice(VALUES), rng.choice(MEASURES)
        halves = range(3, 12) if self.difficulty > 0.5 else range(2, 12, 2)
        right, options, answer = number_to_ask(rng, [n * value // 2 for n in halves])
        half = 2 * right // value
        length = max(UNIT, round(rng.uniform(0.5, 1) * min(1.5 / half, 0.3) * self._side))
        others = self._others(rng, length)
        spans = self._placed(
            rng, repeat([length * half / 2, *others], ATTEMPTS), dots=True, floor=STRIP
        )
        colours = rng.sample([*COLOURS], len(spans))
        x, y = rng.randint(20, self.width - 20 - max(length, 20)), self.height - 9
        scale = Scale((Point(x, y), Point(x + length, y)), value, unit)
        said = {"unit": unit, "colour": colours[0], "value": value}
        so_far = [min(n + 2, half) * value // 2 for n in range(0, half, 2)]
        laid = pieces(spans[0], half / 2, [f"{far} {unit}" for far in so_far])
        bar = Line(1, scale.bar, "scale bar")
        gold = (
            Step(say(rng, self.wording, phrases.BAR, **said), (bar,)),
            Step(say(rng, self.wording, phrases.BAR_LAID, **said), laid),
        )
        ends = f"The bar fits {half / 2:g} {plural('time', half // 2)}: that is {right} {unit}."
        asked = Asked(say(rng, self.wording, phrases.SCALE, **said), answer, options, gold, ends)
        return asked, Sheet(_shuffled(rng, colours, spans), dots=True, scale=scale)

    def fits(self, rng: Random) -> Found:
        """How many whole times one segment fits into another: what is left over is no close call."""
        count, options, answer = number_to_ask(rng, range(1, 5 + round(2 * self.difficulty)))
        spans, times = self._dividing(rng, count)
        colours = rng.sample([*COLOURS], len(spans))
        by_colour = dict(zip(colours, spans, strict=True))
        said = {"long": colours[0], "short": colours[1]}
        both = (_along(by_colour, colours[1]), _along(by_colour, colours[0]))
        laid = pieces(spans[0], times, [str(n + 1) for n in range(count)])
        gold = (
            Step(say(rng, self.wording, phrases.BOTH, **said), both),
            Step(say(rng, self.wording, phrases.LAID, **said), laid),
        )
        ends = f"It fits {count} {plural('time', count)}; what is left is shorter."
        asked = Asked(say(rng, self.wording, phrases.FITS, **said), answer, options, gold, ends)
        return asked, Sheet(_shuffled(rng, colours, spans))

    def _dividing(self, rng: Random, count: int) -> tuple[list[Span], float]:
        """A long segment, a short one, others, and how often the short one fits: well between
        ``count`` and one more even when all ends are whole pixels."""
        for _ in range(ATTEMPTS):
            times = count + rng.uniform(0.35, 0.65)
            most = min(0.8 / times, 0.3) * self._side
            short = max(UNIT - 2, rng.uniform(0.6, 1) * most)
            lengths = [short * times, short, *self._others(rng, short)]
            spans = self._placed(rng, repeat(lengths, ATTEMPTS), dots=False)
            times = math.dist(*spans[0]) / math.dist(*spans[1])
            if count + 0.25 <= times <= count + 0.75:
                return spans, times
        raise ValueError(f"no segment {count} times another on {self.width}×{self.height} px")

    def _others(self, rng: Random, least: float) -> list[float]:
        """Lengths of what nothing is asked about, px."""
        count = round(rng.uniform(0, 2) * self.difficulty)
        return [rng.uniform(1.2 * least, max(1.3 * least, 0.5 * self._side)) for _ in range(count)]

    def _box(self, figure: Figure) -> Box:
        around = geometry.clip_box(bounding_box(figure.points), Size(self.width, self.height))
        return Box(1, around, figure.name)


FAMILIES: dict[str, Callable[[Distance, Random], Found]] = {
    "pairs": Distance.pairs,
    "segments": Distance.segments,
    "figures": Distance.figures,
    "scale": Distance.scale,
    "fits": Distance.fits,
}


def _along(spans: dict[str, Span], colour: str) -> Line:
    return Line(1, spans[colour], colour)


def _shuffled(rng: Random, colours: Sequence[str], spans: Sequence[Span]) -> dict[str, Span]:
    """Spans by colour, so that their order says nothing."""
    rows = list(zip(colours, spans, strict=True))
    rng.shuffle(rows)
    return dict(rows)


def _clear(a: Figure, b: Figure) -> bool:
    """Whether the boxes of two figures stay apart."""
    (ax1, ay1), (ax2, ay2) = bounding_box(a.points)
    (bx1, by1), (bx2, by2) = bounding_box(b.points)
    return ax2 + 2 <= bx1 or bx2 + 2 <= ax1 or ay2 + 2 <= by1 or by2 + 2 <= ay1
