"""advance(state, turn) → the next state or a finished trajectory; rollout(policy, …) runs many.

`advance` is pure: it checks what parsing cannot know (that an index exists, that a mark lies on its
picture, that nothing is drawn twice), lets the canvas draw, and decides when a trajectory ends.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field, replace

from pipeline import canvas, geometry, tokens
from pipeline.grammar import clean, parse
from pipeline.protocol import FAMILIES, Family, from_wire
from pipeline.reflection import Tolerance, alike, executed, same_place
from pipeline.tokens import Count
from pipeline.types import (
    Answer,
    Box,
    Failure,
    Fault,
    Op,
    Policy,
    PolicyError,
    Problem,
    State,
    Step,
    Stop,
    Trajectory,
    Turn,
    Usage,
)

IN_FLIGHT = 64  # trajectories at a time, if nothing else is said
AHEAD = 8  # how many times in_flight may be finished and wait for a slow one before them
TELLABLE = {Stop.TRUNCATED, Stop.MALFORMED, Stop.BAD_OP, Stop.REPEATED_OP}


@dataclass(frozen=True, slots=True)
class Limits:
    """When a rollout ends, and whether a fault is told to the model or ends it.

    Turns count the answer; ``task_turns`` overrides ``max_turns`` for the tasks it names.
    """

    max_turns: int = 10
    task_turns: tuple[tuple[str, int], ...] = (("maze", 20),)
    max_images: int = 42  # inputs plus observations
    max_context: int = 32_768  # tokens
    repeats: Tolerance = field(default_factory=Tolerance)
    tell_faults: bool = False

    def turns(self, problem: Problem) -> int:
        return dict(self.task_turns).get(problem.task, self.max_turns)

    def of(self, seat: str) -> "Limits":
        """The same for who sits in a seat: faults are told to teachers alone, and end what others do."""
        return self if seat == "teacher" else replace(self, tell_faults=False)


def read_turn(
    state: State,
    text: str,
    family: Family,
    *,
    truncated: bool = False,
    ids: tuple[int, ...] | None = None,
    logprobs: tuple[float, ...] | None = None,
    usage: Usage | None = None,
) -> Turn:
    """A model's text as a Turn: parsed, its ops in pixels of the pictures they name.

    An index that names no picture is left for `advance` to find.
    """
    parsed = parse(text)
    if truncated:
        parsed = Fault(Stop.TRUNCATED, "the turn hit its token limit")
    elif isinstance(parsed, Step) and family.coordinates != "pixels":
        parsed = replace(parsed, ops=tuple(_in_pixels(state, op, family) for op in parsed.ops))
    return Turn(clean(text), parsed, ids, logprobs, usage)


def check_length(tokens: int, limits: Limits) -> None:
    """Raises a PolicyError for a prompt that is longer than the whole context may be."""
    if tokens > limits.max_context:
        raise PolicyError(f"a prompt of {tokens} tokens, of {limits.max_context} in all")


def _in_pixels(state: State, op: Op, family: Family) -> Op:
    if not 1 <= op.k <= len(state.views):
        return op
    return from_wire(op, state.problem.images[state.views[op.k - 1].base - 1].size, family)


def advance(
    state: State,
    turn: Turn,
    limits: Limits,
    family: Family = FAMILIES["qwen2.5-vl"],
    count: Count = tokens.estimate,
) -> State | Trajectory:
    """One turn further: the state after it, or the finished trajectory at the first stop.

    ``count`` says how long a state is: by estimate, unless the policy's own tokenizer is at hand.
    A turn with a fault executes none of its ops. The stored turn's ``parsed`` is what was made of
    it: clipped ops, or the Fault.
    """
    parsed = turn.parsed
    if isinstance(parsed, Step):
        parsed = _checked(state, parsed, limits)
    if parsed is not turn.parsed:
        turn = replace(turn, parsed=parsed)
    after = _after(state, turn)
    stop = _stop(after, parsed, limits, family, count)
    if stop is None:
        return after
    return Trajectory(state.problem.id, state.sample, after.turns, stop)


def _after(state: State, turn: Turn) -> State:
    """What a turn, checked, makes of a state."""
    if isinstance(turn.parsed, Step):
        return canvas.execute(state, turn.parsed, turn)
    return replace(state, turns=(*state.turns, turn), observed=(*state.observed, 0))


def _stop(
    after: State, parsed: Step | Answer | Fault, limits: Limits, family: Family, count: Count
) -> Stop | None:
    """The first stop that holds, in the order of `Stop`."""
    if isinstance(parsed, Fault) and not (limits.tell_faults and parsed.reason in TELLABLE):
        return parsed.reason
    most = limits.turns(after.problem)
    answered = isinstance(parsed, Answer)
    if len(after.turns) >= most and not answered:
        return Stop.TOO_MANY_TURNS
    if count(after, family, most) > limits.max_context:
        return Stop.TOO_LONG
    return Stop.ANSWERED if answered else None


def _checked(state: State, step: Step, limits: Limits) -> Step | Fault:
    """The step with its ops clipped to their pictures, or why it cannot be drawn."""
    ops: list[Op] = []
    for op in step.ops:
        if not 1 <= op.k <= len(state.views):
            return Fault(Stop.BAD_OP, f"index {op.k}: there are {len(state.views)} pictures")
        size = state.problem.images[state.views[op.k - 1].base - 1].size
        if isinstance(op, Box):
            inside = geometry.clip_box(op.p, size)
            op = op if inside == op.p else Box(op.k, inside, op.label)
            if geometry.area(op.p) == 0:
                return Fault(Stop.BAD_OP, f"box {op.label[:40]!r} has no area on picture {op.k}")
        elif not geometry.meets_picture(op.p, size):
            return Fault(Stop.BAD_OP, f"line {op.label[:40]!r} does not touch picture {op.k}")
        ops.append(op)
    if again := _first_repeat(state, ops, limits.repeats):
        return Fault(Stop.REPEATED_OP, f"{again.label[:40]!r} was drawn there before")
    if len(state.views) + len({op.k for op in ops}) > limits.max_images:
        return Fault(Stop.TOO_MANY_IMAGES, f"more than {limits.max_images} pictures")
    return Step(step.thought, tuple(ops), step.lenient)


def _first_repeat(state: State, ops: list[Op], repeats: Tolerance) -> Op | None:
    """The first op that equals any earlier one of the trajectory, live or not, or of its own step."""
    drawn: dict[tuple[type, int, str], list[Op]] = {}
    for mark in executed(state):
        drawn.setdefault(alike(mark.op, mark.base), []).append(mark.op)
    for op in ops:
        before = drawn.setdefault(alike(op, state.views[op.k - 1].base), [])
        if any(same_place(op, earlier, repeats) for earlier in before):
            return op
        before.append(op)
    return None


def retrace(problem: Problem, trajectory: Trajectory) -> State:
    """What a trajectory came to: its views, live marks and successions, from its stored ops."""
    return canvas.executed(problem, trajectory.sample, trajectory.turns)


async def rollout(
    policy: Policy,
    problems: Iterable[Problem],
    samples: int,
    limits: Limits,
    family: Family,
    in_flight: int = IN_FLIGHT,
    count: Count = tokens.estimate,
) -> AsyncGenerator[Trajectory | Failure, None]:
    """``samples`` trajectories of every problem, in the order of problems and samples.

    One coroutine a trajectory and no barrier between turns; at most ``in_flight`` run at once, and
    at most `AHEAD` times as many are started and not yet given out, so that problems are drawn from
    the iterable only when their turn has come.
    """
    starts = ((problem, sample) for problem in problems for sample in range(samples))
    running: set[asyncio.Task[Trajectory | Failure]] = set()
    ordered: deque[asyncio.Task[Trajectory | Failure]] = deque()  # started and not yet given out
    try:
        while True:
            while len(running) < in_flight and len(ordered) < AHEAD * in_flight:
                if (start := next(starts, None)) is None:
                    break
                task = asyncio.create_task(
                    _one(policy, canvas.opened(*start), limits, family, count)
                )
                task.add_done_callback(running.discard)
                running.add(task)
                ordered.append(task)
            if not ordered:
                return
            if ordered[0].done():
                yield ordered.popleft().result()
            else:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in ordered:
            task.cancel()
        await asyncio.gather(*ordered, return_exceptions=True)


async def _one(
    policy: Policy, state: State, limits: Limits, family: Family, count: Count
) -> Trajectory | Failure:
    now: State | Trajectory = state
    while isinstance(now, State):
        try:
            turn = await policy.act(now)
        except PolicyError as error:
            return Failure(state.problem.id, state.sample, str(error))
        now = advance(now, turn, limits, family, count)
    return now
