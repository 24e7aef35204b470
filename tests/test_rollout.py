"""Every stop reason, where its boundary lies, and that a rollout loses nothing."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import canvas
from pipeline.grammar import write
from pipeline.protocol import FAMILIES, render
from pipeline.reflection import Tolerance
from pipeline.rollout import Limits, advance, read_turn, retrace, rollout
from pipeline.types import (
    Answer,
    Box,
    Failure,
    Fault,
    PolicyError,
    Problem,
    State,
    Step,
    Stop,
    Trajectory,
    Turn,
)
from tests.conftest import PIXELS, Saying, box, line, plain_problem, run

LOOK = Step("I look.", (box(20, 20, 80, 80),))
DONE = Answer("So.", "A")


def stopped(turns: list[Step | Answer | str], limits: Limits = Limits()) -> Trajectory:
    done = run(plain_problem(), turns, limits)
    assert isinstance(done, Trajectory), "it did not stop"
    return done


def test_an_answer_ends_it() -> None:
    done = stopped([LOOK, DONE])
    assert done.stop is Stop.ANSWERED
    assert done.turns[-1].parsed == DONE


@pytest.mark.parametrize(
    ("ops", "reason"),
    [
        ((box(1, 1, 9, 9, k=2),), Stop.BAD_OP),  # an observation of this very step
        ((box(1, 1, 9, 9, k=0),), Stop.BAD_OP),
        ((box(1, 1, 9, 9, k=-1),), Stop.BAD_OP),
        ((box(300, 300, 400, 400),), Stop.BAD_OP),  # beside the picture
        ((box(224, 10, 300, 40),), Stop.BAD_OP),  # touches the edge and keeps no area
        ((box(50, 50, 50, 90),), Stop.BAD_OP),
        ((line(300, 0, 300, 200),), Stop.BAD_OP),
        ((line(230, 0, 460, 230),), Stop.BAD_OP),
        ((box(1, 1, 9, 9), box(1, 1, 9, 9)), Stop.REPEATED_OP),
    ],
)
def test_an_op_that_cannot_be_drawn_ends_it_and_draws_nothing(
    ops: tuple[Box, ...], reason: Stop
) -> None:
    good = box(100, 100, 120, 120, "other")
    done = stopped([Step("I look.", (good, *ops))])
    assert done.stop is reason
    fault = done.turns[-1].parsed
    assert isinstance(fault, Fault)
    assert fault.reason is reason
    assert retrace(plain_problem(), done).live == ()


def test_a_box_is_clipped_to_its_picture_and_a_line_may_leave_it() -> None:
    state = run(plain_problem(), [Step("I look.", (box(-50, 100, 90, 999), line(-9, 5, 300, 5)))])
    assert isinstance(state, State)
    assert [mark.op for mark in state.live] == [box(0, 100, 90, 224), line(-9, 5, 300, 5)]


def test_drawing_an_earlier_op_again_ends_it_even_if_it_is_no_longer_live() -> None:
    moved = Step("I look.", (box(25, 25, 85, 85, k=2),))
    back = Step("I look.", (box(20, 20, 80, 80, " CAT ", k=3),))
    assert stopped([LOOK, moved, back]).stop is Stop.REPEATED_OP


def test_repeats_within_the_tolerance_count_only_when_a_version_says_so() -> None:
    jitter = Step("I look.", (box(21, 20, 80, 80, k=2),))
    assert isinstance(run(plain_problem(), [LOOK, jitter]), State)
    near = Limits(repeats=Tolerance(iou=0.95))
    assert stopped([LOOK, jitter], near).stop is Stop.REPEATED_OP
    way, again = (Step("I look.", (line(9, 9, 99, 9 + d, k=k),)) for d, k in ((0, 1), (3, 2)))
    assert isinstance(run(plain_problem(), [way, again]), State)
    assert stopped([way, again], Limits(repeats=Tolerance(ends=3))).stop is Stop.REPEATED_OP


def test_a_truncated_turn_is_truncated_whatever_it_says() -> None:
    state = canvas.opened(plain_problem())
    done = advance(state, read_turn(state, write(DONE), PIXELS, truncated=True), Limits())
    assert isinstance(done, Trajectory)
    assert done.stop is Stop.TRUNCATED


def moving(n: int) -> Step:
    return Step("I look.", (box(20 + n, 20, 80 + n, 80, k=n + 1),))


def test_the_last_turn_allowed_may_answer_and_may_not_draw() -> None:
    limits = Limits(max_turns=3)
    assert stopped([moving(0), moving(1), DONE], limits).stop is Stop.ANSWERED
    assert stopped([moving(0), moving(1), moving(2)], limits).stop is Stop.TOO_MANY_TURNS


def test_a_task_may_have_turns_of_its_own() -> None:
    limits = Limits(max_turns=1, task_turns=(("plain", 2),))
    assert isinstance(run(plain_problem(), [LOOK], limits), State)
    assert (
        stopped([LOOK], Limits(max_turns=1, task_turns=(("maze", 20),))).stop is Stop.TOO_MANY_TURNS
    )


def test_inputs_and_observations_together_may_reach_the_cap_and_not_pass_it() -> None:
    assert isinstance(run(plain_problem(), [moving(0), moving(1)], Limits(max_images=3)), State)
    done = stopped([moving(0), moving(1)], Limits(max_images=2))
    assert done.stop is Stop.TOO_MANY_IMAGES
    assert len(retrace(plain_problem(), done).views) == 2


def test_ids_that_are_known_are_counted_and_an_answer_is_not_answered() -> None:
    from pipeline import tokens

    state = run(plain_problem(), [LOOK])
    assert isinstance(state, State)
    plain = tokens.estimate(state, PIXELS, 10)
    known = replace(state, turns=(replace(state.turns[0], ids=(1,) * 500),))
    assert tokens.estimate(known, PIXELS, 10) == plain - tokens.of_text(state.turns[0].text) + 500
    done = replace(state, turns=(*state.turns, Turn("x" * 30, DONE)), observed=(1, 0))
    assert tokens.estimate(done, PIXELS, 10) == plain + tokens.FRAME + 10


@pytest.mark.parametrize("max_turns", [2, 3, 10])
def test_the_estimate_is_of_every_message_that_is_rendered(max_turns: int) -> None:
    from pipeline import tokens

    limits = Limits(max_turns=20, tell_faults=True)
    for said in ([], [LOOK], [LOOK, "no action", moving(3)], [LOOK, moving(1), moving(2)]):
        state = run(plain_problem(question="Where – ici?"), said, limits)
        assert isinstance(state, State)
        naive = 0
        for message in render(state, PIXELS, max_turns):
            naive += tokens.FRAME
            for part in message.parts:  # 8 × 8 patches and two brackets
                naive += tokens.of_text(part) if isinstance(part, str) else 66
        assert tokens.estimate(state, PIXELS, max_turns) == naive


def test_a_turn_full_of_ops_is_checked_in_no_time() -> None:
    import time

    for label in ("\ufdfa" * 180, "a"):
        ops = tuple(box(n, 3 * t, n + 30, 3 * t + 30, label) for t in range(8) for n in range(8))
        start = time.process_time()
        assert isinstance(run(plain_problem(), [Step("I look.", ops)]), State)
        assert time.process_time() - start < 0.2  # rendering the state to count it included


def test_a_context_that_is_full_ends_it() -> None:
    assert stopped([LOOK], Limits(max_context=300)).stop is Stop.TOO_LONG


def test_the_first_stop_that_holds_is_the_one_given() -> None:
    nothing = Limits(max_turns=1, max_images=1, max_context=1)
    assert stopped(["Hm."], nothing).stop is Stop.MALFORMED
    assert stopped([Step("I look.", (box(1, 1, 9, 9, k=7),))], nothing).stop is Stop.BAD_OP
    assert stopped([LOOK], nothing).stop is Stop.TOO_MANY_IMAGES
    assert stopped([LOOK], Limits(max_turns=1, max_context=1)).stop is Stop.TOO_MANY_TURNS
    assert stopped([DONE], Limits(max_turns=1, max_context=1)).stop is Stop.TOO_LONG


def test_a_fault_that_is_told_lets_the_rollout_go_on() -> None:
    done = stopped(["Hm.", LOOK, DONE], Limits(tell_faults=True))
    assert done.stop is Stop.ANSWERED
    assert isinstance(done.turns[0].parsed, Fault)
    assert len(retrace(plain_problem(), done).live) == 1


def test_retracing_brings_back_what_the_rollout_saw() -> None:
    turns = [
        LOOK,
        moving(1),
        Step("I look.", (line(3, 3, 90, 90, k=2), box(99, 99, 120, 120, "b"))),
    ]
    state = run(plain_problem(), turns)
    assert isinstance(state, State)
    done = advance(state, read_turn(state, write(DONE), PIXELS), Limits())
    assert isinstance(done, Trajectory)
    back = retrace(plain_problem(), done)
    assert (back.views, back.live, back.successions) == (state.views, state.live, state.successions)
    assert (back.turns, back.observed) == (done.turns, (*state.observed, 0))


def test_thousandths_are_turned_into_pixels_of_the_picture_that_is_named() -> None:
    state = canvas.opened(plain_problem())
    text = write(Step("I look.", (box(0, 500, 1000, 1000),)))
    turn = read_turn(state, text, FAMILIES["qwen3-vl"])
    assert turn.parsed == Step("I look.", (box(0, 112, 224, 224),))
    unknown = read_turn(
        state, write(Step("I look.", (box(0, 5, 9, 9, k=5),))), FAMILIES["qwen3-vl"]
    )
    done = advance(state, unknown, Limits(), FAMILIES["qwen3-vl"])
    assert isinstance(done, Trajectory)
    assert done.stop is Stop.BAD_OP


@settings(max_examples=200)
@given(
    st.lists(st.tuples(*[st.integers(-300, 300)] * 4, st.integers(-2, 4)), min_size=1, max_size=4)
)
def test_any_parsed_op_is_drawn_or_is_a_fault(numbers: list[tuple[int, ...]]) -> None:
    ops = tuple(
        line(*n[:4], k=n[4]) if n[0] % 2 else box(*sorted(n[:2]), *sorted(n[2:4]), k=n[4])
        for n in numbers
    )
    state = canvas.opened(plain_problem())
    after = advance(state, Turn("", Step("I look.", ops)), Limits())
    if isinstance(after, State):
        for view in after.views:
            canvas.picture(after.problem, view)
    else:
        assert isinstance(after.turns[-1].parsed, Fault)


# rollout -----------------------------------------------------------------------------------------


def collected(
    policy: object, problems: Iterator[Problem] | list[Problem], samples: int = 2
) -> list[Trajectory | Failure]:
    async def collect() -> list[Trajectory | Failure]:
        runs = rollout(policy, problems, samples, Limits(), PIXELS, in_flight=4)  # type: ignore[arg-type]
        return [run async for run in runs]

    return asyncio.run(collect())


def many(count: int) -> list[Problem]:
    return [plain_problem(id=f"p{n}") for n in range(count)]


def test_every_sample_of_every_problem_comes_out_in_order() -> None:
    done = collected(Saying(write(LOOK)), many(7), samples=3)
    assert [(run.problem_id, run.sample) for run in done] == [
        (f"p{n}", sample) for n in range(7) for sample in range(3)
    ]


def test_a_backend_that_fails_gives_a_failure_with_its_reason_and_the_rest_goes_on() -> None:
    class Flaky(Saying):
        async def act(self, state: State) -> Turn:
            if state.problem.id == "p1":
                raise PolicyError("no answer from the server")
            return await super().act(state)

    done = collected(Flaky(write(LOOK)), many(3))
    failed = [run for run in done if isinstance(run, Failure)]
    assert [(f.problem_id, f.sample, f.reason) for f in failed] == [
        ("p1", 0, "no answer from the server"), ("p1", 1, "no answer from the server"),
    ]  # fmt: skip
    assert len(done) == 6


def test_our_own_fault_in_a_policy_is_raised_and_not_scored() -> None:
    class Broken(Saying):
        async def act(self, state: State) -> Turn:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        collected(Broken(), many(3))


def test_a_source_that_breaks_is_raised_after_what_came_before_it() -> None:
    def breaking() -> Iterator[Problem]:
        yield from many(2)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        collected(Saying(write(LOOK)), breaking())


def test_problems_are_drawn_only_as_trajectories_are_started() -> None:
    drawn = 0

    def counted() -> Iterator[Problem]:
        nonlocal drawn
        for problem in many(50):
            drawn += 1
            yield problem

    async def first() -> int:
        runs = rollout(Saying(write(LOOK)), counted(), 1, Limits(), PIXELS, in_flight=4)
        await anext(runs)
        await runs.aclose()
        return drawn

    assert asyncio.run(first()) <= 8


@pytest.mark.parametrize("in_flight", [1, 2, 4])
def test_no_more_run_at_once_than_asked_and_none_is_left_behind(in_flight: int) -> None:
    running, most = set(), 0

    class Counting(Saying):
        async def act(self, state: State) -> Turn:
            nonlocal most
            running.add(asyncio.current_task())
            most = max(most, sum(not task.done() for task in running if task))
            await asyncio.sleep(0.001)
            return await super().act(state)

    async def some() -> None:
        runs = rollout(Counting(write(LOOK)), many(9), 1, Limits(), PIXELS, in_flight)
        await anext(runs)
        await runs.aclose()

    asyncio.run(some())
    assert most == in_flight
    assert all(task.done() for task in running if task)


def test_a_slow_first_trajectory_does_not_keep_the_others_from_starting() -> None:
    started: list[str] = []

    class SlowFirst(Saying):
        async def act(self, state: State) -> Turn:
            if not state.turns:
                started.append(state.problem.id)
            async with asyncio.timeout(60):
                while state.problem.id == "p0" and len(started) <= 20:
                    await asyncio.sleep(0.001)
            return await super().act(state)

    assert len(collected(SlowFirst(write(LOOK)), many(30), samples=1)) == 30


def test_finished_and_slow_trajectories_do_not_wait_for_one_another_between_turns() -> None:
    seen: list[tuple[str, int]] = []

    class Slow(Saying):
        async def act(self, state: State) -> Turn:
            if state.problem.id == "p0":
                await asyncio.sleep(0.05)
            seen.append((state.problem.id, len(state.turns)))
            return await super().act(state)

    collected(Slow(write(LOOK)), many(2), samples=1)
    assert seen.index(("p1", 1)) < seen.index(("p0", 0))  # p1 answered before p0 had said a word
