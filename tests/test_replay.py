"""Turns are asked for once, unless something changed that decides them."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import canvas, replay
from pipeline.grammar import write
from pipeline.images import encode
from pipeline.kept import Kept
from pipeline.protocol import FAMILIES
from pipeline.replay import Replayed
from pipeline.rollout import Limits, advance, read_turn, rollout
from pipeline.types import (
    Answer,
    Failure,
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
from tests.conftest import PIXELS, box, plain_problem

LOOK = write(Step("I look.", (box(20, 20, 80, 80),)))
MOVE = write(Step("It is off.", (box(24, 20, 84, 80, k=2),)))
DONE = write(Answer("So.", "A"))
USED = Usage(100, 20, 60, 1, 1, 0)


class Teacher:
    """Draws, looks at what it drew, moves it and answers; counts what it is asked."""

    def __init__(self, *fails: tuple[int, int], cut: bool = False) -> None:
        self.fails, self.cut = set(fails), cut  # (sample, turn) that it cannot say
        self.asked: list[tuple[str, int, int]] = []

    async def act(self, state: State) -> Turn:
        turn = len(state.turns)
        self.asked.append((state.problem.id, state.sample, turn))
        await asyncio.sleep(0)
        for view in state.views:
            canvas.picture(state.problem, view)
        if (state.sample, turn) in self.fails:
            raise PolicyError("HTTP 500", Usage(requests=3, retries=2))
        text = (LOOK, MOVE, DONE)[turn]
        ids = (state.sample, turn, 7)
        told = read_turn(state, text, PIXELS, truncated=self.cut, ids=ids, logprobs=(-0.1, -2.0, 0))
        return replace(told, usage=USED)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with Kept.at(tmp_path / "turns.sqlite") as file:
        yield file


def run(
    policy: Policy, problems: list[Problem], samples: int = 2, limits: Limits = Limits()
) -> list[Trajectory | Failure]:
    async def every() -> list[Trajectory | Failure]:
        return [r async for r in rollout(policy, problems, samples, limits, PIXELS)]

    return asyncio.run(every())


def around(teacher: Teacher, kept: Kept, **identity: Any) -> Replayed:
    return Replayed(teacher, {"model": "m", "seed": 1, **identity}, kept, Limits(), PIXELS)


def test_a_second_run_asks_nothing_draws_nothing_and_says_the_same(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Teacher(), Teacher()
    problems = [plain_problem(id=f"plain-{n}") for n in range(3)]
    told = run(around(first, kept), problems)
    assert told == run(Teacher(), problems), "what is kept is what the teacher said"
    assert len(first.asked) == len(set(first.asked)) == 3 * 2 * 3

    def drawn(*_: object) -> None:
        raise AssertionError("an observation was drawn")

    monkeypatch.setattr(canvas, "draw", drawn)
    monkeypatch.setattr(canvas, "decode", drawn)
    monkeypatch.setattr(canvas, "encode", drawn)
    policy = around(second, kept)
    assert run(policy, problems) == told
    assert second.asked == []
    spent = policy.spending
    assert (spent.turns_paid, spent.turns_replayed) == (0, 18)
    assert spent.replayed == Usage(1800, 360, 1080, 18, 18, 0)
    assert spent.paid == spent.in_vain == Usage()


def test_a_turn_that_was_cut_off_is_so_again(kept: Kept) -> None:
    told = run(around(Teacher(cut=True), kept), [plain_problem()])
    assert [t.stop for t in told if isinstance(t, Trajectory)] == [Stop.TRUNCATED] * 2
    assert run(around(Teacher(), kept), [plain_problem()]) == told


def test_more_samples_ask_for_those_that_are_new(kept: Kept) -> None:
    run(around(Teacher(), kept), [plain_problem()], samples=2)
    more = Teacher()
    run(around(more, kept), [plain_problem()], samples=3)
    assert {sample for _, sample, _ in more.asked} == {2}


def changed() -> dict[str, tuple[Problem, Limits, dict[str, Any]]]:
    other = encode(np.full((224, 224, 3), 201, np.uint8))
    return {
        "model": (plain_problem(), Limits(), {"model": "n"}),
        "seed": (plain_problem(), Limits(), {"seed": 2}),
        "temperature": (plain_problem(), Limits(), {"temperature": 0.5}),
        "picture": (plain_problem(images=(other,)), Limits(), {}),
        "question": (plain_problem(question="Which?"), Limits(), {}),
        "options": (plain_problem(options=("cat", "cow", "dog")), Limits(), {}),
        "id, which keys random streams": (plain_problem(id="plain-2"), Limits(), {}),
    }


@pytest.mark.parametrize("what", changed())
def test_a_change_of_what_decides_a_turn_asks_for_it_again(what: str, kept: Kept) -> None:
    run(around(Teacher(), kept), [plain_problem()])
    problem, limits, identity = changed()[what]
    again = Teacher()
    policy = Replayed(again, {"model": "m", "seed": 1, **identity}, kept, limits, PIXELS)
    run(policy, [problem])
    assert len(again.asked) == 6


@pytest.mark.parametrize("name", ["PROTOCOL", "RENDERER", "KEY"])
def test_a_new_version_of_the_wire_or_the_drawing_asks_again(
    name: str, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(around(Teacher(), kept), [plain_problem()])
    monkeypatch.setattr(replay, name, "new")
    again = Teacher()
    run(around(again, kept), [plain_problem()])
    assert len(again.asked) == 6


def test_another_renderer_names_other_pictures(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    state = advance(
        canvas.opened(plain_problem()),
        read_turn(canvas.opened(plain_problem()), LOOK, PIXELS),
        Limits(),
    )
    assert isinstance(state, State)
    policy = around(Teacher(), kept)
    opening, before = policy.key(canvas.opened(plain_problem())), policy.key(state)
    monkeypatch.setattr(canvas, "RENDERER", "new")
    anew = around(Teacher(), kept)
    assert anew.key(state) != before
    assert anew.key(canvas.opened(plain_problem())) == opening, "where nothing is drawn yet"


def test_a_key_is_the_same_whatever_was_asked_before(kept: Kept) -> None:
    problem, states = plain_problem(), list[State]()
    for sample in (0, 1):
        now: State | Trajectory = canvas.opened(problem, sample)
        for text in (LOOK, MOVE):
            assert isinstance(now, State)
            states.append(now)
            now = advance(now, read_turn(now, text, PIXELS, ids=(7, sample)), Limits())
        assert isinstance(now, State)
        states.append(now)
    alone = [around(Teacher(), kept).key(state) for state in states]
    assert len(set(alone)) == 6
    for order in (range(6), reversed(range(6)), (0, 3, 1, 4, 2, 5), (2, 0, 1, 1, 5, 2)):
        policy = around(Teacher(), kept)
        assert all(policy.key(states[n]) == alone[n] for n in order)


def test_a_change_of_what_decides_nothing_asks_nothing(kept: Kept) -> None:
    run(around(Teacher(), kept), [plain_problem()])
    again = Teacher()
    limits = Limits(max_context=30_000, max_images=40)
    policy = Replayed(again, {"seed": 1, "model": "m"}, kept, limits, PIXELS)
    problem = plain_problem(answer="B", gold=(), conclusion="", scene=None, difficulty=0.7)
    told = run(policy, [problem], limits=limits)
    assert again.asked == []
    assert all(isinstance(t, Trajectory) and len(t.turns) == 3 for t in told)


def test_fewer_turns_ask_again_from_where_the_last_one_is_announced(kept: Kept) -> None:
    run(around(Teacher(), kept), [plain_problem()], samples=1)
    again, limits = Teacher(), Limits(max_turns=3)
    run(Replayed(again, {"model": "m", "seed": 1}, kept, limits, PIXELS), [plain_problem()], 1)
    assert [turn for _, _, turn in again.asked] == [2]


def test_every_part_of_a_state_is_in_its_key(kept: Kept) -> None:
    policy, start = around(Teacher(), kept), canvas.opened(plain_problem())

    def after(text: str, **more: Any) -> State:
        now = advance(start, read_turn(start, text, PIXELS, **more), Limits())
        assert isinstance(now, State)
        return now

    other = LOOK.replace("I look.", "I see.")
    moved = write(Step("I look.", (box(20, 20, 80, 81),)))
    states = [
        start,
        replace(start, sample=1),
        after(LOOK),
        after(other),
        after(moved),
        after(LOOK, ids=(1, 2)),
        after(LOOK, ids=(1, 3)),
        after(LOOK, ids=()),
    ]
    assert len({policy.key(state) for state in states}) == len(states)
    families = [FAMILIES["qwen2.5-vl"], FAMILIES["qwen2-vl"], FAMILIES["qwen3-vl"]]
    made = [Replayed(Teacher(), {}, kept, Limits(), family) for family in families]
    assert len({one.key(start) for one in made}) == 3


def test_texts_cannot_be_shifted_from_one_part_to_the_next(kept: Kept) -> None:
    policy = around(Teacher(), kept)
    one = canvas.opened(plain_problem(question="a\nA. b", options=("c", "d")))
    other = canvas.opened(plain_problem(question="a", options=("b\nB. c", "d")))
    assert policy.key(one) != policy.key(other)


def test_a_run_that_was_given_up_goes_on_in_the_middle_of_a_trajectory(kept: Kept) -> None:
    problems = [plain_problem(id=f"plain-{n}") for n in range(4)]
    undisturbed = run(Teacher(), problems)

    class Dies(Teacher):
        async def act(self, state: State) -> Turn:
            if len(self.asked) == 13:
                raise KeyboardInterrupt
            return await super().act(state)

    first, second = Dies(), Teacher()
    with pytest.raises(KeyboardInterrupt):
        run(around(first, kept), problems)
    there = set(first.asked)
    assert run(around(second, kept), problems) == undisturbed
    assert len(second.asked) < 24
    assert {*second.asked} | there == {
        (p.id, s, t) for p in problems for s in (0, 1) for t in range(3)
    }


def test_a_failure_under_other_limits_is_another(kept: Kept) -> None:
    run(around(Teacher((0, 0)), kept), [plain_problem()], samples=1)
    again = Teacher()
    run(around(again, kept), [plain_problem()], samples=1)
    assert again.asked == []
    roomier = Limits(max_context=100_000)
    run(Replayed(again, {"model": "m", "seed": 1}, kept, roomier, PIXELS), [plain_problem()], 1)
    assert len(again.asked) == 3


def test_what_failed_is_not_tried_again_until_it_is_forgotten(kept: Kept) -> None:
    first = around(Teacher((1, 2)), kept)
    told = run(first, [plain_problem()])
    failed = Failure("plain-1", 1, "HTTP 500")
    assert told[1] == failed
    assert first.spending.in_vain == Usage(requests=3, retries=2)
    assert (first.spending.turns_paid, first.spending.turns_in_vain) == (5, 1)
    well = Teacher()
    assert run(around(well, kept), [plain_problem()]) == told
    assert well.asked == []
    assert kept.forget_failures(kept.policy({"model": "m", "seed": 1})) == 1
    assert isinstance(run(around(well, kept), [plain_problem()])[1], Trajectory)
    assert well.asked == [("plain-1", 1, 2)], "only the turn that failed"
