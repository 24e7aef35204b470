"""Occlusion: figures that hide parts of one another: how many are under or over one, how many there
are in all, which is in front, in which order they lie. Gold boxes hold what is *seen* of a figure.

Difficulty turns the number of figures (up to 10), how much of one may be hidden, their size, and how
alike their names are. What can be told for certain is up to `layers`.
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, permutations, product
from random import Random
from typing import ClassVar

from pipeline.tasks import Wording
from pipeline.tasks import occlusion_phrases as phrases
from pipeline.tasks.layers import Pile, draw, empty, laid
from pipeline.tasks.phrasing import lettered, listed, number_to_ask, plural, say
from pipeline.tasks.posed import Asked, posed
from pipeline.tasks.shapes import COLOURS, FIGURES, Figure, paper
from pipeline.types import Box, Line, Op, Point, Problem, Step

ATTEMPTS = 300  # piles begun for one problem
TRIES = 100  # places looked at for one figure
FORMS = (*FIGURES, "bar")
SMALLEST = 0.85  # of the usual size, where there is little room
FIRST_RADIUS = 2.1  # of a figure that others are gathered around, in usual radii
BAR_RADIUS = 1.35

DOING = {"over": ("reaches under", "reach under"), "under": ("lies over", "lie over")}

Name = tuple[str, str]  # colour and form


@dataclass(frozen=True)
class Occlusion:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random) -> Problem:
        asked, pile = FAMILIES[rng.choice([*FAMILIES])](self, rng)
        pixels = draw(paper(rng, self.width, self.height), pile)
        rows = [[f.colour, f.form, f.x, f.y, f.radius, f.turn] for f in pile.figures]
        marks = self._boxes(pile, range(len(pile.figures)))
        return posed("occlusion", self.difficulty, pixels, asked, marks, {"front to back": rows})

    # Piles ---------------------------------------------------------------------------------------

    @property
    def _share(self) -> float:
        """Of every figure at least this share is seen."""
        return 0.65 - 0.3 * self.difficulty

    def _names(self, rng: Random, count: int, alone: int) -> list[Name]:
        """Different names, the first ``alone`` of colours that no other has: only of different
        colours may figures touch. The harder, the more others share a colour or a form."""
        colours = rng.sample([*COLOURS], alone)
        chosen = [(colour, rng.choice(FIGURES)) for colour in colours]
        free = [name for name in product(COLOURS, FORMS) if name[0] not in colours]
        rng.shuffle(free)
        while len(chosen) < count:
            like = [n for n in free if any(n[0] == c or n[1] == f for c, f in chosen)]
            name = (like if like and rng.random() < 0.6 * self.difficulty else free)[0]
            free.remove(name)
            chosen.append(name)
        return chosen

    def _radius(self, count: int) -> float:
        """The usual radius of a figure, px."""
        room = math.sqrt(self.width * self.height / count)
        return min(min(self.width, self.height) * (0.17 - 0.05 * self.difficulty), 0.32 * room)

    def _figure(self, rng: Random, name: Name, radius: float, beside: Figure | None) -> Figure:
        """A figure anywhere, or so near another that they may well overlap."""
        size = radius * rng.uniform(0.85, 1.15) * (BAR_RADIUS if name[1] == "bar" else 1)
        if beside is None:
            x, y = rng.uniform(size, self.width - size), rng.uniform(size, self.height - size)
        else:
            away, where = (beside.radius + size) * rng.uniform(0.45, 0.9), rng.uniform(0, math.tau)
            x, y = beside.x + away * math.cos(where), beside.y + away * math.sin(where)
        turn = {"circle": 0.0, "bar": rng.uniform(0, math.pi)}.get(
            name[1], rng.uniform(-0.25, 0.25)
        )
        return Figure(*name, round(x, 1), round(y, 1), round(size, 1), round(turn, 2))

    def _grown(
        self,
        rng: Random,
        pile: Pile,
        name: Name,
        radius: float,
        near: Sequence[int],
        may: Collection[int],
        then: Figure | None = None,
    ) -> Pile | None:
        """The pile with one more figure under it, if a place is found.

        Args:
            near: figures of which one, whichever, is to cover a part of it; none if there are none.
            may: figures that are free to; no others do.
            then: a figure that is to lie under all that there are then, covered by each of them.
        """
        for _ in range(TRIES):
            must = [rng.choice(near)] if near else []
            beside = then or (pile.figures[must[0]] if must else None)
            grown = laid(pile, self._figure(rng, name, radius, beside), self._share, must, may)
            if grown is not None and (
                then is None or laid(grown, then, self._share, range(len(grown.figures)), ())
            ):
                return grown
        return None

    def _found(self, attempt: Callable[[float], Pile | None]) -> Pile:
        """The first pile that is completed; what it is to show was decided before.

        Args:
            attempt: makes a pile of figures that are so many times their usual size, or fails.
        """
        for n in range(ATTEMPTS):
            if (pile := attempt(max(SMALLEST, 0.98**n))) is not None:
                return pile
        raise ValueError(f"no pile of figures on {self.width}×{self.height} px")

    def _scattered(self, rng: Random, size: float, hidden: Sequence[bool]) -> Pile | None:
        """A pile of figures, front to back, of which just those are partly hidden."""
        names, pile = self._names(rng, len(hidden), 0), empty(self.width, self.height)
        rng.shuffle(names)
        radius = size * self._radius(len(names))
        for n, (name, covered) in enumerate(zip(names, hidden, strict=True)):
            others = range(n) if covered else ()
            grown = self._grown(rng, pile, name, radius, others, others)
            if grown is None:
                return None
            pile = grown
        return pile

    def _gathered(
        self, rng: Random, size: float, names: Sequence[Name], over: int, under: int
    ) -> Pile | None:
        """A pile in which figure number ``over``, of the first name, has so many over it and
        ``under`` under it; the rest of the names lie apart from it."""
        first, *names = names
        pile, radius = empty(self.width, self.height), size * self._radius(3 + len(names))
        x, y = (round(side * rng.uniform(0.35, 0.65), 1) for side in (self.width, self.height))
        middle = replace(self._figure(rng, first, radius * FIRST_RADIUS, None), x=x, y=y)
        for n in range(over):
            grown = self._grown(rng, pile, names[n], radius, (), range(n), then=middle)
            if grown is None:
                return None
            pile = grown
        now = laid(pile, middle, self._share, range(over), ())
        for n, name in enumerate(names[over:], start=over + 1):
            if now is None:
                return None
            near = [over] if n <= over + under else []
            now = self._grown(rng, now, name, radius, near, [m for m in range(n) if m != over])
        return now

    def _chained(self, rng: Random, size: float, count: int, others: int) -> Pile | None:
        """A pile whose first figures each cover a part of the next."""
        names, pile = self._names(rng, count + others, count), empty(self.width, self.height)
        radius = size * self._radius(len(names))
        for n, name in enumerate(names):
            near = [n - 1] if 0 < n < count else []
            grown = self._grown(rng, pile, name, radius, near, range(n))
            if grown is None:
                return None
            pile = grown
        return pile

    # Marks ---------------------------------------------------------------------------------------

    def _boxes(self, pile: Pile, figures: Iterable[int]) -> tuple[Op, ...]:
        """Boxes around what is seen of some figures, from left to right."""
        boxes = [Box(1, pile.box(n), pile.figures[n].name) for n in figures]
        return tuple(sorted(boxes, key=lambda box: (box.p, box.label)))

    def _marked(
        self,
        rng: Random,
        pile: Pile,
        figures: Collection[int],
        thoughts: Sequence[str],
        **said: str,
    ) -> tuple[Step, ...]:
        """A step that boxes some figures; none if there are none."""
        boxes = self._boxes(pile, figures)
        named = listed([f"the {box.label}" for box in boxes]) if boxes else ""
        return (
            (Step(say(rng, self.wording, thoughts, named=named, **said), boxes),) if boxes else ()
        )

    # Questions -----------------------------------------------------------------------------------

    def covering(self, rng: Random) -> tuple[Asked, Pile]:
        """How many figures one covers in part, or is covered by."""
        count, options, answer = number_to_ask(rng, range(4 + round(self.difficulty)))
        side, reverse = rng.choice(("over", "under")), rng.randint(0, min(2, 5 - count))
        others = round(rng.uniform(0.4, 1) * (1 + 2 * self.difficulty))
        above, below = (reverse, count) if side == "over" else (count, reverse)
        names = self._names(rng, 1 + above + below + others, 1)
        pile = self._found(lambda size: self._gathered(rng, size, names, above, below))
        first = pile.figures[above].name
        wanted = pile.under(above) if side == "over" else pile.over[above]
        gold = self._marked(rng, pile, [above], phrases.FIRST)
        gold += self._marked(rng, pile, wanted, phrases.FOUND[side], first=first)
        doing = DOING[side][count != 1]
        ends = f"{count} {plural('figure', count)} {doing} the {first}."
        asked = say(rng, self.wording, phrases.COVERING[side], first=first)
        return Asked(asked, answer, options, gold, ends), pile

    def which(self, rng: Random) -> tuple[Asked, Pile]:
        """Which of some figures lies over, or under, another; those beside it do the reverse."""
        side = rng.choice(("over", "under"))
        others = 1 + round(rng.uniform(0.4, 1) * 2 * self.difficulty)
        above, below = rng.randint(1, 2), rng.randint(1, 2)
        names = self._names(rng, 1 + above + below + others, 1)
        pile = self._found(lambda size: self._gathered(rng, size, names, above, below))
        under, over = pile.under(above), pile.over[above]
        wanted = rng.choice(sorted(under if side == "over" else over))
        reverse = sorted(over if side == "over" else under)
        wrong = [*reverse, *range(above + below + 1, len(pile.figures))][:3]
        name = pile.figures[wanted].name
        options, answer = lettered(rng, name, [pile.figures[n].name for n in wrong])
        first = pile.figures[above].name
        gold = self._marked(rng, pile, [above], phrases.FIRST)
        gold += self._marked(rng, pile, [wanted], phrases.FOUND[side], first=first)
        ends = (name, first) if side == "under" else (first, name)
        asked = say(rng, self.wording, phrases.WHICH[side], first=first)
        said = f"The {ends[0]} covers a part of the {ends[1]}."
        return Asked(asked, answer, options, gold, said), pile

    def hidden(self, rng: Random) -> tuple[Asked, Pile]:
        """How many figures are partly hidden, or not at all."""
        figures = 4 + round(rng.uniform(0.4, 1) * 4 * self.difficulty)
        entire = rng.random() < 0.5
        scale = range(1, figures + 1) if entire else range(figures)
        count, options, answer = number_to_ask(rng, scale)
        cut = figures - count if entire else count
        flags = [*[True] * cut, *[False] * (figures - 1 - cut)]
        rng.shuffle(flags)  # the first lies on top and cannot be hidden
        pile = self._found(lambda size: self._scattered(rng, size, [False, *flags]))
        wanted = [n for n, over in enumerate(pile.over) if bool(over) != entire]
        gold = self._marked(
            rng, pile, wanted, phrases.ENTIRE_ONES if entire else phrases.HIDDEN_ONES
        )
        if not gold:
            gold = self._marked(rng, pile, range(figures), phrases.ENTIRE_ONES)
        verb = "is" if count == 1 else "are"
        ends = f"{count} {plural('figure', count)} {verb} {'seen whole' if entire else 'partly hidden'}."
        asked = say(rng, self.wording, phrases.ENTIRE if entire else phrases.HIDDEN)
        return Asked(asked, answer, options, gold, ends), pile

    def total(self, rng: Random) -> tuple[Asked, Pile]:
        """How many figures there are, those included of which parts are seen."""
        least, most = 3 + round(2 * self.difficulty), 6 + round(4 * self.difficulty)
        count, options, answer = number_to_ask(rng, range(least, most + 1))
        cut = round(count * rng.uniform(0.3, 0.5 + 0.25 * self.difficulty))
        flags = [*[True] * cut, *[False] * (count - 1 - cut)]
        rng.shuffle(flags)
        pile = self._found(lambda size: self._scattered(rng, size, [False, *flags]))
        entire = [n for n, over in enumerate(pile.over) if not over]
        rest = [n for n, over in enumerate(pile.over) if over]
        gold = self._marked(rng, pile, entire, phrases.ENTIRE_ONES)
        gold += self._marked(rng, pile, rest, phrases.HIDDEN_ONES)
        ends = f"{len(entire)} seen whole and {len(rest)} partly hidden: {count} in all."
        return Asked(say(rng, self.wording, phrases.TOTAL), answer, options, gold, ends), pile

    def front(self, rng: Random) -> tuple[Asked, Pile]:
        """Which of two figures is in front, if they overlap at all."""
        apart = rng.random() < 1 / 3
        figures = 3 + round(rng.uniform(0.4, 1) * 4 * self.difficulty)
        flags = [False, True, *(rng.random() < 0.5 for _ in range(figures - 2))]

        def pairs(pile: Pile) -> list[tuple[int, int]]:
            """In front and behind, of different colours: those of one colour never touch."""
            return [
                (m, n)
                for n, over in enumerate(pile.over)
                for m in range(n)
                if (m in over) != apart and pile.figures[m].colour != pile.figures[n].colour
            ]

        def attempt(size: float) -> Pile | None:
            pile = self._scattered(rng, size, flags)
            return pile if pile and pairs(pile) else None

        pile = self._found(attempt)
        both = rng.choice(pairs(pile))
        ahead, behind = (pile.figures[n].name for n in both)
        right = phrases.NEITHER if apart else ahead
        wrong = [ahead, behind] if apart else [behind, phrases.NEITHER]
        options, answer = lettered(rng, right, wrong)
        names = [ahead, behind] if rng.random() < 0.5 else [behind, ahead]
        gold = self._marked(rng, pile, both, phrases.FIRST)
        ends = f"The {ahead} covers a part of the {behind}."
        if apart:
            ends = f"The {names[0]} and the {names[1]} do not overlap."
        asked = say(rng, self.wording, phrases.FRONT, first=names[0], second=names[1])
        return Asked(asked, answer, options, gold, ends), pile

    def order(self, rng: Random) -> tuple[Asked, Pile]:
        """The order of figures that each cover a part of the next."""
        count = 4 if rng.random() < self.difficulty else 3
        others = round(rng.uniform(0.2, 1) * 4 * self.difficulty)
        pile = self._found(lambda size: self._chained(rng, size, count, others))
        chain = [figure.name for figure in pile.figures[:count]]
        begin, end = rng.choice((("front", "back"), ("back", "front")))
        right = tuple(chain if begin == "front" else chain[::-1])
        wrong = rng.sample([p for p in permutations(sorted(chain)) if p != right], 3)
        options, answer = lettered(rng, ", ".join(right), [", ".join(names) for names in wrong])
        places = [Point(round(f.x), round(f.y)) for f in pile.figures[:count]]
        lines = tuple(
            Line(1, ends, f"{one} over {two}")
            for ends, (one, two) in zip(pairwise(places), pairwise(chain), strict=True)
        )
        gold = self._marked(rng, pile, range(count), phrases.FIRST)
        gold += (Step(say(rng, self.wording, phrases.CHAIN), lines),)
        named = listed([f"the {name}" for name in rng.sample(chain, count)])
        asked = say(rng, self.wording, phrases.ORDER, named=named, begin=begin, end=end)
        ends = f"From {begin} to {end}: {', '.join(right)}."
        return Asked(asked, answer, options, gold, ends), pile


FAMILIES: dict[str, Callable[[Occlusion, Random], tuple[Asked, Pile]]] = {
    "covering": Occlusion.covering,
    "which": Occlusion.which,
    "hidden": Occlusion.hidden,
    "total": Occlusion.total,
    "front": Occlusion.front,
    "order": Occlusion.order,
}
