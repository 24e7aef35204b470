"""Turns made by the batch: what a turn is may hang on who is asked with it."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline import canvas
from pipeline.batching import Batching, Outcome
from pipeline.grammar import write
from pipeline.kept import Kept
from pipeline.replay import Replayed
from pipeline.rollout import Limits, read_turn, rollout
from pipeline.types import Answer, Failure, PolicyError, Problem, State, Step, Trajectory, Usage
from tests.conftest import PIXELS, box, plain_problem

LOOK = write(Step("I look.", (box(20, 20, 80, 80),)))
DONE = write(Answer("So.", "A"))
MOST, IN_FLIGHT = 3, 8
PROBLEMS = [plain_problem(id=f"p{n}") for n in range(9)]


class Killed(Exception):
    """The process is gone."""


class Model:
    """Looks as often as a problem's name has it, then answers; what it says tells its batch."""

    def __init__(self, calls: int = 10_000) -> None:
        self.calls, self.batches = calls, list[tuple[str, ...]]()

    def answers(self, states: Sequence[State]) -> list[Outcome]:
        if len(self.batches) == self.calls:
            raise Killed
        due = tuple(state.due for state in states)
        self.batches.append(due)
        together = hashlib.sha256("/".join(due).encode()).digest()[0] / 256
        return [self._turn(state, together) for state in states]

    def _turn(self, state: State, together: float) -> Outcome:
        number = int(state.problem.id[1:])
        if number == 4 and state.sample:
            return PolicyError("its prompt is too long", Usage(requests=1))
        text = LOOK if len(state.turns) < number % 4 else DONE
        return read_turn(state, text, PIXELS, truncated=False, ids=(1,), logprobs=(together,))


def run(model: Model, place: Path, samples: int = 2) -> list[Trajectory | Failure]:
    async def every() -> list[Trajectory | Failure]:
        with Kept.at(place / "turns.sqlite") as kept:
            batching = Batching(model.answers, MOST)
            policy = Replayed(batching, {"model": "m"}, kept, Limits(), PIXELS)
            runs = rollout(policy, PROBLEMS, samples, Limits(), PIXELS, IN_FLIGHT)
            return [one async for one in runs]

    return asyncio.run(every())


def ran(place: Path, samples: int) -> list[tuple[str, ...]]:
    model = Model()
    run(model, place, samples)
    return model.batches


def test_a_run_that_was_killed_after_any_batch_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    calm = Model()
    told = run(calm, tmp_path / "calm")
    assert len({run.turns[0].logprobs for run in told if isinstance(run, Trajectory)}) > 6
    assert sum(isinstance(run, Failure) for run in told) == 1
    assert {len(batch) for batch in calm.batches} > {MOST}
    for calls in range(len(calm.batches)):
        place = tmp_path / str(calls)
        with pytest.raises(Killed):
            run(Model(calls), place)
        rest = Model()
        assert run(rest, place) == told
        assert rest.batches == calm.batches[calls:], "no turn that was kept is made again"


def test_a_run_that_is_killed_again_and_again_ends_so_too(tmp_path: Path) -> None:
    told = run(Model(), tmp_path / "calm")
    for _ in range(100):
        try:
            assert run(Model(2), tmp_path / "killed") == told
            break
        except Killed:
            pass
    else:
        pytest.fail("it never ends")


def test_what_is_known_whole_asks_for_nothing(tmp_path: Path) -> None:
    told = run(Model(), tmp_path)
    assert run(Model(0), tmp_path) == told


def test_what_is_new_is_asked_alone(tmp_path: Path) -> None:
    before = {due for batch in ran(tmp_path, 2) for due in batch}
    after = [due for batch in ran(tmp_path, 3) for due in batch]
    assert before
    assert after
    assert not before & set(after)
    assert {due.split("/")[1] for due in after} == {"2"}


def test_those_who_wait_are_answered_together_in_their_order() -> None:
    model = Model()
    batching = Batching(model.answers, MOST)
    states = [canvas.opened(problem) for problem in PROBLEMS[:5]]

    async def ask(states: list[State]) -> None:
        await asyncio.gather(*(batching.act(state) for state in states))

    asyncio.run(ask(states))
    assert model.batches == [("p0/0/0", "p1/0/0", "p2/0/0"), ("p3/0/0", "p4/0/0")]


def test_one_who_gave_up_keeps_nobody_waiting_and_is_not_asked() -> None:
    model = Model()
    batching = Batching(model.answers, MOST)

    async def ask() -> None:
        tasks = [asyncio.create_task(batching.act(canvas.opened(p))) for p in PROBLEMS[:3]]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.wait(tasks, timeout=10)
        assert [task.cancelled() for task in tasks] == [False, True, False]

    asyncio.run(ask())
    assert model.batches == [("p0/0/0", "p2/0/0")]


def test_all_who_wait_are_told_what_broke_and_nobody_is_asked_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = Model(calls=1)
    batching = Batching(model.answers, MOST)

    async def ask() -> list[object]:
        asked = (batching.act(canvas.opened(problem)) for problem in PROBLEMS[:8])
        return await asyncio.gather(*asked, return_exceptions=True)

    told = asyncio.run(ask())
    assert [isinstance(one, Killed) for one in told] == [False] * 3 + [True] * 5
    assert len(model.batches) == 1
    assert not caplog.records, "nor does asyncio tell of a task that nobody looked after"


def test_whoever_has_no_turn_is_told_why() -> None:
    batching = Batching(Model().answers, MOST)
    problem: Problem = PROBLEMS[4]
    with pytest.raises(PolicyError, match="too long"):
        asyncio.run(batching.act(canvas.opened(problem, 1)))
