"""Appearance: figures come and go in 16 frames. Who came first, who went, when, and where to?

Figures appear in the open, over the edges or from behind numbered doors. Difficulty turns how many
there are (4..8), how alike they look, how soon one comes after another, how many return, and their
size. At any time only some are there, so no single frame tells the answer.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, NamedTuple

from pipeline.images import encode
from pipeline.tasks import Wording
from pipeline.tasks import appearance_phrases as phrases
from pipeline.tasks.phrasing import SMALL, lettered, listed, near_numbers, say
from pipeline.tasks.shapes import COLOURS, FIGURES
from pipeline.tasks.visits import (
    FRAMES,
    LATEST,
    Guest,
    Room,
    Span,
    Visit,
    World,
    apart,
    furnished,
    timeline,
)
from pipeline.types import Box, Kind, Modality, Op, Problem, Scene, Size, Step

ATTEMPTS = 300  # at a layout of all visits, each with smaller figures than the one before
TIMES = 5000  # at a timeline that a question fits; the rarest fits one in a hundred
CAME, WENT = ("first", "second", "third", "last"), ("first", "second", "last")

Times = Sequence[tuple[Span, ...]]  # of each figure, when it is there


class Plot(NamedTuple):
    """A question and how it is found out; texts still to be worded."""

    question: Sequence[str]
    right: str
    wrong: Sequence[str]  # of a choice
    steps: Sequence[tuple[Sequence[str], Sequence[Op]]]  # phrasings of a thought, what it draws
    end: Sequence[str]
    facts: dict[str, str]


class Question(NamedTuple):
    values: Callable[["Appearance"], Sequence[int]]  # answers that may be wanted
    whom: Callable[[Times, int], list[int]]  # figures of whom the wanted answer would be true
    plot: Callable[[Random, Room, list[Guest], int, int], Plot]  # of the subject and the answer


@dataclass(frozen=True)
class Appearance:
    VERSION: ClassVar[str] = "1"
    width: int = 224
    height: int = 224
    difficulty: float = 0.5
    wording: Wording = "varied"

    def sample(self, rng: Random) -> Problem:
        kind = rng.choice(list(Kind))
        name = rng.choice(ASKS[kind])
        question = QUESTIONS[name]
        wanted = rng.choice(question.values(self))  # first: every answer is equally likely
        room = furnished(rng, Size(self.width, self.height), rng.choice(list(World)))
        times, subject = self._times(rng, question, wanted if name == "back" else None, wanted)
        leaving = room.exits[wanted] if name == "exit" else None
        guests = self._guests(rng, room, times, subject, leaving)
        plot = question.plot(rng, room, guests, subject, wanted)
        options, answer = tuple[str, ...](), plot.right
        if kind is Kind.CHOICE:
            options, answer = lettered(rng, plot.right, plot.wrong)
        ops = [op for _, ops in plot.steps for op in ops]
        shown = rng.sample(guests, len(guests))
        boxes: list[Op] = [room.box(g, k) for k in range(FRAMES) for g in shown if g.at(k)]
        rows = [[g.colour, g.form, g.radius, g.visits] for g in guests]
        asked = {"ask": name, "subject": subject, "answer": plot.right}
        geometry = {"world": room.world, "doors": room.doors, "figures": rows, **asked}
        return Problem(
            id="",
            task="appearance",
            modality=Modality.VIDEO,
            images=tuple(encode(pixels) for pixels in room.paint(rng, shown)),
            question=say(rng, self.wording, plot.question, **plot.facts),
            options=options,
            answer=answer,
            kind=kind,
            difficulty=self.difficulty,
            gold=tuple(
                Step(say(rng, self.wording, thought, **plot.facts), tuple(ops))
                for thought, ops in plot.steps
            ),
            conclusion=say(rng, self.wording, plot.end, **plot.facts),
            scene=Scene(
                (*boxes, *(op for op in ops if op not in boxes)),
                json.dumps(geometry, separators=(",", ":")),
            ),
        )

    @property
    def most(self) -> int:
        """The largest number of figures that a question may count."""
        return 3 + round(3 * self.difficulty)

    def _times(
        self, rng: Random, question: Question, returning: int | None, wanted: int
    ) -> tuple[Times, int]:
        """When figures come and go, and one of whom the wanted answer is true."""
        gap = 2 if self.difficulty < 0.5 else 1
        for _ in range(TIMES):
            count = rng.randint(self.most + 1, self.most + 2)
            back = sum(rng.random() < 0.5 * self.difficulty for _ in range(count // 2))
            times = timeline(rng, count, back if returning is None else returning, gap)
            whom = question.whom(times, wanted) if times else []
            if times and whom:
                return times, rng.choice(whom)
        raise ValueError(f"no {self.most} figures come and go as the question wants")

    def _guests(
        self, rng: Random, room: Room, times: Times, subject: int, leaving: str | None
    ) -> list[Guest]:
        """Figures of different looks that come and go at these times, and keep apart."""
        side = min(self.width, self.height) * (0.08 - 0.024 * self.difficulty)
        looks = self._looks(rng, len(times))
        for attempt in range(ATTEMPTS):
            radius = max(5.0, side * 0.99**attempt)
            guests: list[Guest] = []
            for n, (look, spans) in enumerate(zip(looks, times, strict=True)):
                own = round(max(5.0, radius * rng.uniform(0.9, 1.15)), 1)
                ways = self._ways(rng, room, spans, leaving if n == subject else None)
                visits = [self._visit(rng, room, guests, *way, own) for way in ways]
                if None in visits:
                    break
                guests.append(Guest(*look, own, tuple(v for v in visits if v)))
            else:
                return guests
        raise ValueError(f"{len(times)} figures do not fit on {self.width}×{self.height} px")

    def _ways(
        self, rng: Random, room: Room, spans: tuple[Span, ...], leaving: str | None
    ) -> list[tuple[Span, tuple[str, str | None]]]:
        """For each visit where it starts and ends: None for one that goes on to the end."""
        ways = []
        for span in spans:
            out: str | None = rng.choice(room.exits)
            if leaving is not None:
                others = [e for e in room.exits if e != leaving]
                out = leaving if span is spans[-1] else rng.choice(others)
            ways.append((span, (rng.choice(room.exits), None if span[1] == FRAMES - 1 else out)))
        return ways

    def _visit(
        self,
        rng: Random,
        room: Room,
        guests: Sequence[Guest],
        span: Span,
        ways: tuple[str, str | None],
        radius: float,
    ) -> Visit | None:
        for _ in range(60):
            visit = room.route(rng, span, ways, radius)
            if visit and apart(guests, visit, radius):
                return visit
        return None

    def _looks(self, rng: Random, count: int) -> list[tuple[str, str]]:
        """(colour, form), all different: the harder, the fewer of each."""
        colours = rng.sample([*COLOURS], max((count + 2) // 3, round(8 - 5 * self.difficulty)))
        forms = rng.sample(FIGURES, round(6 - 3 * self.difficulty))
        own = {colour: rng.sample(forms, len(forms)) for colour in colours}
        return [(c, own[c].pop()) for c in (colours[n % len(colours)] for n in range(count))]


def _by_first(times: Times) -> list[int]:
    return sorted(range(len(times)), key=lambda n: times[n][0][0])


def _leaving(times: Times) -> list[int]:
    """Those that are gone at the end, in the order in which they go."""
    gone = [n for n, spans in enumerate(times) if spans[-1][1] < FRAMES - 1]
    return sorted(gone, key=lambda n: times[n][-1][1])


def _ranked(order: list[int], rank: int, ranks: Sequence[str]) -> list[int]:
    """Whoever has a rank; the last rank is the end of the order."""
    return order[-1:] if rank == len(ranks) - 1 else order[rank : rank + 1]


def _when(guests: Sequence[Guest], last: bool = False) -> str:
    frames = [(g.last if last else g.first) + 1 for g in guests]
    return listed([f"the {g.name} in frame {k}" for g, k in zip(guests, frames, strict=True)])


def _came(rng: Random, room: Room, guests: list[Guest], subject: int, wanted: int) -> Plot:
    """Who appeared first, second, third or last."""
    steps = [(phrases.BOX_FIRSTS, [room.box(g, g.first) for g in guests])]
    order = sorted(guests, key=lambda g: g.first)
    facts = {"order": _when(order), "when": _when(guests), "rank": CAME[wanted]}
    facts["thing"] = guests[subject].name
    wrong = rng.sample([g.name for g in guests if g is not guests[subject]], 3)
    return Plot(phrases.CAME, facts["thing"], wrong, steps, phrases.ORDER_END, facts)


def _went(rng: Random, room: Room, guests: list[Guest], subject: int, wanted: int) -> Plot:
    """Who left for good first, second or last."""
    gone = [g for g in guests if g.last < FRAMES - 1]
    steps = [(phrases.BOX_LASTS, [room.box(g, g.last) for g in gone])]
    order = sorted(gone, key=lambda g: g.last)
    facts = {"order": _when(order, last=True), "when": _when(gone, last=True), "rank": WENT[wanted]}
    facts["thing"] = guests[subject].name
    wrong = rng.sample([g.name for g in guests if g is not guests[subject]], 3)
    return Plot(phrases.WENT, facts["thing"], wrong, steps, phrases.ORDER_END, facts)


def _last_seen(room: Room, guest: Guest) -> tuple[list[tuple[Sequence[str], list[Op]]], str]:
    """Boxes at the end of each visit."""
    steps: list[tuple[Sequence[str], list[Op]]] = []
    if len(guest.visits) > 1:
        steps.append((phrases.BOX_GONE, [room.box(guest, guest.visits[0].last)]))
    steps.append((phrases.BOX_LAST, [room.box(guest, guest.last)]))
    return steps, str(guest.visits[0].last + 1)


def _exit(rng: Random, room: Room, guests: list[Guest], subject: int, wanted: int) -> Plot:
    """Where one was last seen."""
    guest, out = guests[subject], room.exits[wanted]
    steps, before = _last_seen(room, guest)
    facts = {"thing": guest.name, "k": str(guest.last + 1), "before": before, "too": ""}
    facts["where"] = {World.OPEN: f"at the {out}", World.EDGES: f"at the {out} edge"}.get(
        room.world, f"at {out}"
    )
    if room.world is World.DOORS:
        steps[-1][1].append(Box(guest.last + 1, room.doors[wanted], out))
        facts["too"] = f", and {out} beside it"
    wrong = [other for other in room.exits if other != out]
    return Plot(phrases.EXIT[room.world], out, wrong, steps, phrases.EXIT_END, facts)


def _first_frame(rng: Random, room: Room, guests: list[Guest], subject: int, wanted: int) -> Plot:
    """In which frame one appeared."""
    guest = guests[subject]
    facts = {"thing": guest.name, "k": str(wanted + 1)}
    steps = [(phrases.BOX_FIRST, [room.box(guest, guest.first)])]
    return Plot(phrases.FIRST_FRAME, facts["k"], (), steps, phrases.FRAME_END, facts)


def _last_frame(rng: Random, room: Room, guests: list[Guest], subject: int, wanted: int) -> Plot:
    """In which frame one was last seen."""
    guest = guests[subject]
    steps, before = _last_seen(room, guest)
    facts = {"thing": guest.name, "k": str(wanted + 1), "before": before, "too": ""}
    return Plot(phrases.LAST_FRAME, facts["k"], (), steps, phrases.FRAME_END, facts)


def _before(rng: Random, room: Room, guests: list[Guest], subject: int, wanted: int) -> Plot:
    """How many had appeared before one did."""
    guest = guests[subject]
    earlier = [g for g in guests if g.first < guest.first]
    facts = {"thing": guest.name, "k": str(guest.first + 1), "count": _told(wanted)}
    steps = [(phrases.BOX_FIRST, [room.box(guest, guest.first)])]
    if earlier:
        facts["when"] = _when(earlier)
        steps.append((phrases.BOX_EARLIER, [room.box(g, g.first) for g in earlier]))
    wrong = near_numbers(rng, wanted, 3)
    return Plot(phrases.BEFORE, str(wanted), wrong, steps, phrases.BEFORE_END, facts)


def _back(rng: Random, room: Room, guests: list[Guest], subject: int, wanted: int) -> Plot:
    """How many left and came back."""
    again = [(g, g.visits[1].first) for g in guests if len(g.visits) > 1]
    facts = {"when": _when(guests), "count": _told(wanted)}
    steps = [(phrases.BOX_ALL, [room.box(g, g.first) for g in guests])]
    if again:
        facts["again"] = listed([f"the {g.name} in frame {k + 1}" for g, k in again])
        steps.append((phrases.BOX_AGAIN, [room.box(g, k) for g, k in again]))
    wrong = near_numbers(rng, wanted, 3)
    return Plot(phrases.BACK, str(wanted), wrong, steps, phrases.BACK_END, facts)


def _told(count: int) -> str:
    return SMALL[count] if count else "zero"


QUESTIONS: dict[str, Question] = {
    "came": Question(
        lambda task: range(len(CAME)), lambda times, n: _ranked(_by_first(times), n, CAME), _came
    ),
    "went": Question(
        lambda task: range(len(WENT)), lambda times, n: _ranked(_leaving(times), n, WENT), _went
    ),
    "exit": Question(lambda task: range(4), lambda times, n: _leaving(times), _exit),
    "first frame": Question(
        lambda task: range(LATEST + 1),
        lambda times, frame: [n for n in _by_first(times) if times[n][0][0] == frame],
        _first_frame,
    ),
    "last frame": Question(
        lambda task: range(3, FRAMES - 1),
        lambda times, frame: [n for n in _leaving(times) if times[n][-1][1] == frame],
        _last_frame,
    ),
    "before": Question(
        lambda task: range(task.most + 1),
        lambda times, rank: _by_first(times)[rank : rank + 1],
        _before,
    ),
    "back": Question(
        lambda task: range(1 + round(2 + task.difficulty)), lambda times, n: [0], _back
    ),
}
ASKS = {
    Kind.CHOICE: ("came", "went", "exit", "before"),
    Kind.NUMBER: ("first frame", "last frame", "before", "back"),
}
