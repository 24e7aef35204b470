"""A fallible oracle: knows the gold ops, and errs, looks again and corrects the way a model does.

It writes text like any model, and its text takes the same way through parsing and `advance`, so
every filter downstream has real work. Everything is drawn from one stream a trajectory, keyed by
seed, problem and sample: the same version gives the same bytes, in any order of asking.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from random import Random

from pipeline import canvas, geometry, tokens
from pipeline.grammar import write
from pipeline.protocol import Family, to_wire
from pipeline.rollout import Limits, advance, read_turn
from pipeline.tasks.phrasing import LETTERS, listed
from pipeline.teachers.astray import elsewhere, fault, moved, visibly_off
from pipeline.types import (
    Answer,
    Box,
    Kind,
    Line,
    Mark,
    Op,
    Point,
    Problem,
    State,
    Step,
    Trajectory,
    Turn,
)


@dataclass(frozen=True, slots=True)
class Rates:
    """How the oracle errs: sizes of error, and probabilities. Filters see the results."""

    box_error: float = 0.03  # s.d. of a corner, in sides of the box
    line_error: float = 0.04  # s.d. of an end, in grid cells, or in tenths of the diagonal
    slip: float = 0.15  # that an op is placed carelessly
    slip_error: float = 0.2  # s.d. then, in the same units
    notice: float = (
        0.85  # that a visible error is seen on the observation, each time it is looked at
    )
    wrong_object: float = 0.04  # an op lands on another object
    miss: float = 0.03  # an object is left out at first
    retype: float = 0.02  # a box is drawn as a line at first, or a line as a box
    misled: float = 0.7  # that drawings still wrong at the end lead to a wrong answer
    wrong_answer: float = 0.08
    hopeless: float = 0.05  # of the problems, that every sample answers wrongly
    repeat: float = 0.02  # a turn draws an op again as it is
    malformed: float = 0.02  # a turn that has no meaning
    bad_op: float = 0.02  # a turn that draws on a picture that is not there, or beside its picture
    lenient: float = 0.03  # a turn that departs from the grammar a little
    truncated: float = 0.01  # a turn that hits its token limit
    dither: float = 0.02  # a trajectory that adjusts for ever
    ramble: float = 0.01  # a trajectory whose thoughts do not end


BROKEN = (
    lambda text: text.replace("```", "", 1),
    lambda text: text.replace("]", "", 1),
    lambda text: text.replace("Action:", "I use", 1),
    lambda text: text.replace("Object Mapper", "Object Finder").replace("Path Tracer", "Pen"),
    lambda text: text.replace('"index": ', '"index": 99**98**97, "k": ', 1),
    lambda text: text + "\n<answer> A </answer>",
    lambda text: text.split("```json")[0] + "```json\n[]\n```",
    lambda text: text.replace('"label"', '"name"', 1),
)
SLOPPY = (
    lambda text: text.replace("```json", "``` json", 1),
    lambda text: text.replace("\n```json\n", " ```json ", 1),
    lambda text: text + "\nLet me look at the result.",
    lambda text: text.replace("<think>", "", 1).replace("Action: ", "action: ", 1),
)
SEEN = (
    "Looking at the drawing, {what}. I draw {it} again in the right place.",
    "Wait, {what}. Let me correct that.",
    "The picture shows that {what}; I move {it}.",
    "Checking each mark: {what}. I adjust {it}.",
)
STRAY = (
    "What I marked on something else does not count. ",
    "One thing first: a mark that lies elsewhere is left out of account. ",
)
HEDGED = (
    "Not every mark is where it should be, but I can tell the answer.",
    "I leave the drawing as it is; the answer does not hang on the marks that are off.",
)
ORACLE = "1"  # part of what decides its trajectories: raise it when a sentence or a choice changes

CHECKED = ("The marks are where they belong. ", "The drawing holds. ", "That looks right. ", "")
DITHERED = "I am still not sure about {it}. I shift it a little and look again."
RAMBLE = " Let me think about this once more, from the start, and consider everything again." * 30


@dataclass(frozen=True, slots=True)
class Oracle:
    """A `Policy` for problems that carry gold ops.

    Raises:
        ValueError: from `act`, for a problem without gold ops.
    """

    rates: Rates
    seed: int
    limits: Limits
    family: Family
    max_tokens: int = 1024  # a turn
    draws: bool = True  # or says in words where things are, and answers in its first turn

    async def act(self, state: State) -> Turn:
        """The next turn: the trajectory's script, played again up to here."""
        rng = Random(f"{self.seed}/oracle/{state.problem.id}/{state.sample}")
        fate = Random(f"{self.seed}/oracle/{state.problem.id}").random()
        hopeless = fate < self.rates.hopeless
        if self.draws:
            script = _play(rng, self.rates, state.problem, hopeless=hopeless)
        else:
            script = _say(rng, self.rates, state.problem, self.family, hopeless=hopeless)
        now: State | Trajectory = canvas.opened(state.problem, state.sample)
        next(script)
        while isinstance(now, State):
            text = script.send(now)
            turn = self._turn(rng, now, text)
            if len(now.turns) == len(state.turns):
                return turn
            now = advance(now, turn, self.limits, self.family)
        raise ValueError(
            f"{state.problem.id}#{state.sample} is not a state that this oracle led to"
        )

    def _turn(self, rng: Random, state: State, said: Step | Answer) -> Turn:
        """What was meant, as text: sometimes broken, sloppy or cut short."""
        if isinstance(said, Step):
            sized = [
                (op, state.problem.images[state.views[op.k - 1].base - 1].size) for op in said.ops
            ]
            said = replace(said, ops=tuple(to_wire(op, size, self.family) for op, size in sized))
        text, fate = write(said), rng.random()
        for rate, spoil in (
            (self.rates.malformed, rng.choice(BROKEN)),
            (self.rates.lenient, rng.choice(SLOPPY)),
            (self.rates.bad_op, _off_target),
        ):
            if fate < rate:
                return read_turn(state, spoil(text), self.family)
            fate -= rate
        if fate < self.rates.truncated or tokens.of_text(text) > self.max_tokens:
            return read_turn(state, text[: len(text) // 2], self.family, truncated=True)
        return read_turn(state, text, self.family)


def _off_target(text: str) -> str:
    """The first index becomes one that no picture has."""
    return text.replace('"index": ', '"index": 9', 1)


Script = Generator[Step | Answer, State, None]


def _play(rng: Random, rates: Rates, problem: Problem, hopeless: bool) -> Script:
    """What the oracle means to say, turn by turn; it is sent the state before each turn.

    The first ``send`` must follow a ``next``, which yields nothing of use.
    """
    _solvable(problem)
    dithers, rambles = rng.random() < rates.dither, rng.random() < rates.ramble
    state = yield Answer("", "")
    wrong: dict[Op, Op | None] = {}  # gold op → the op drawn in its place, None where left out
    for step in problem.gold:
        drawn: dict[Op, Op | None] = {op: _first_try(rng, rates, problem, op) for op in step.ops}
        if len(drawn) > 1 and rng.random() < rates.miss * len(drawn):
            drawn[rng.choice(step.ops)] = None
        wrong |= {op: tried for op, tried in drawn.items() if visibly_off(problem, op, tried)}
        ops = [op for op in drawn.values() if op is not None]
        thought = rng.choice(CHECKED) + step.thought if state.turns else step.thought
        state = yield _on_latest(state, thought, ops)
        while wrong and rng.random() < rates.notice:
            thought, ops, wrong = _correct(rng, rates, problem, wrong)
            state = yield _on_latest(state, thought, ops)
        if state.live and rng.random() < rates.repeat:
            again = rng.choice([mark.op for mark in state.live])
            state = yield Step("Let me draw that once more to be sure.", (again,))
    while state.live and (dithers or rambles):
        mark = rng.choice(state.live)
        shifted = moved(
            rng, rates.slip_error / 2, rates.slip_error / 2, problem, mark.op, mark.base
        )
        thought = DITHERED.format(it=mark.op.label) + (RAMBLE if rambles else "")
        state = yield _on_latest(state, thought, [shifted])
    if _errs(rng, rates, bool(wrong), hopeless=hopeless):
        said = Answer("I take the answer from the marks as they are.", _wrong_answer(rng, problem))
    else:
        said = Answer(_closing(rng, problem, state.live), problem.answer)
    while True:  # again, where it was garbled and the model was told so
        yield said


def _say(rng: Random, rates: Rates, problem: Problem, family: Family, *, hopeless: bool) -> Script:
    """The same in words alone: where each thing is, as well as it is seen, and the answer."""
    _solvable(problem)
    yield Answer("", "")
    gold = [op for step in problem.gold for op in step.ops]
    seen = {op: _first_try(rng, rates, problem, op) for op in gold}
    off = any(visibly_off(problem, op, tried) for op, tried in seen.items())
    places = [_place(problem, op, family) for op in seen.values()]
    errs = _errs(rng, rates, off, hopeless=hopeless)
    answer = _wrong_answer(rng, problem) if errs else problem.answer
    while True:
        yield Answer(f"I see {listed(places)}.", answer)


def _place(problem: Problem, op: Op, family: Family) -> str:
    """Where a thing is, in the coordinates that its model speaks."""
    (x1, y1), (x2, y2) = to_wire(op, problem.images[op.k - 1].size, family).p
    where = f" in picture {op.k}" if len(problem.images) > 1 else ""
    return f"{op.label}{where} from {x1}, {y1} to {x2}, {y2}"


def _solvable(problem: Problem) -> None:
    if not problem.gold:
        raise ValueError(f"problem {problem.id} has no gold ops: the oracle cannot solve it")


def _errs(rng: Random, rates: Rates, off: bool, *, hopeless: bool) -> bool:
    """Whether the answer is wrong: marks that are off may mislead."""
    misled = off and rng.random() < rates.misled
    return hopeless or misled or rng.random() < rates.wrong_answer


def _closing(rng: Random, problem: Problem, live: Sequence[Mark]) -> str:
    """The last thought, which must not claim what the drawing does not bear out."""
    gold = [op for step in problem.gold for op in step.ops]
    drawn = [replace(mark.op, k=mark.base) for mark in live]
    marked = (any(op.k == g.k and not visibly_off(problem, g, op) for op in drawn) for g in gold)
    if not all(marked):
        return rng.choice(HEDGED)
    return rng.choice(CHECKED if len(drawn) == len(gold) else STRAY) + problem.conclusion


def _on_latest(state: State, thought: str, ops: list[Op]) -> Step:
    """A step whose ops, meant for input pictures, go onto the newest view of each."""
    newest = {view.base: k for k, view in enumerate(state.views, start=1)}
    return Step(thought, tuple(replace(op, k=newest[op.k]) for op in ops))


def _first_try(rng: Random, rates: Rates, problem: Problem, gold: Op) -> Op:
    fate = rng.random()
    if fate < rates.wrong_object:
        return elsewhere(rng, problem, gold)
    if fate < rates.wrong_object + rates.retype:
        corners = moved(rng, rates.box_error, rates.line_error, problem, gold, gold.k).p
        other = Line(gold.k, corners, gold.label)
        if isinstance(gold, Line):
            first, last = geometry.bounds(corners)
            return Box(gold.k, (first, Point(last.x + 2, last.y + 2)), gold.label)
        return other
    if rng.random() < rates.slip:
        return moved(rng, rates.slip_error, rates.slip_error, problem, gold, gold.k)
    return moved(rng, rates.box_error, rates.line_error, problem, gold, gold.k)


def _correct(
    rng: Random, rates: Rates, problem: Problem, wrong: dict[Op, Op | None]
) -> tuple[str, list[Op], dict[Op, Op | None]]:
    """Draws everything seen to be off again: the thought, the ops, and what is still off after it."""
    redrawn = {
        gold: moved(rng, rates.box_error, rates.line_error, problem, gold, gold.k) for gold in wrong
    }
    what = listed([_complaint(problem, gold, tried) for gold, tried in wrong.items()][:3])
    thought = rng.choice(SEEN).format(what=what, it="it" if len(wrong) == 1 else "them")
    still: dict[Op, Op | None] = {g: t for g, t in redrawn.items() if visibly_off(problem, g, t)}
    return thought, list(redrawn.values()), still


def _complaint(problem: Problem, gold: Op, tried: Op | None) -> str:
    """What is wrong with a mark, in words that its picture bears out."""
    kind = "box" if isinstance(gold, Box) else "line"
    where = f" in picture {gold.k}" if len(problem.images) > 1 else ""
    mark = f'the {kind} "{gold.label}"{where}'
    if tried is None:
        return f"{mark} is missing"
    if type(tried) is not type(gold):
        return f"{mark} was drawn as a {'line' if kind == 'box' else 'box'}"
    if kind == "box" and geometry.iou(gold.p, tried.p) == 0:
        return f"{mark} is on something else"
    return f"{mark} is too {fault(gold, tried)}"


def _wrong_answer(rng: Random, problem: Problem) -> str:
    if problem.kind is Kind.CHOICE:
        letters = LETTERS[: len(problem.options)]
        return rng.choice([letter for letter in letters if letter != problem.answer])
    value = float(problem.answer)
    off = rng.choice((-2, -1, 1, 2)) * max(1.0, abs(value) * 0.2)
    wrong = value + off if value + off >= 0 else value - off
    return str(round(wrong) if value.is_integer() else round(wrong, 2))
