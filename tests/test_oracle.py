"""The fallible oracle: every error of its list happens, at the rate given, and the same each time."""

import asyncio
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from pipeline import curate
from pipeline.protocol import FAMILIES
from pipeline.reflection import Correction, Tolerance
from pipeline.reward import Rules
from pipeline.rollout import Limits, rollout
from pipeline.tasks.counting import Counting
from pipeline.tasks.maze import Maze
from pipeline.teachers.oracle import HEDGED, STRAY, Oracle, Rates, _complaint
from pipeline.types import Answer, Op, Problem, Stop, Trajectory
from tests.conftest import box, line, plain_problem

PIXELS = FAMILIES["qwen2.5-vl"]
SURE = Rates(**dict.fromkeys(Rates.__dataclass_fields__, 0.0))  # never errs
LIMITS = Limits(max_context=6144)


def problems(count: int = 60) -> list[Problem]:
    makers = (Counting(112, 112, 0.4), Maze(112, 112, 0.4))
    return [
        replace(makers[n % 2].sample(Random(f"oracle/{n}")), id=f"p{n:03}") for n in range(count)
    ]


ASKED = problems()


def told(
    rates: Rates, samples: int = 2, family: str = "qwen2.5-vl", seed: int = 0
) -> list[Trajectory]:
    async def collect() -> list[Trajectory]:
        policy = Oracle(rates, seed, LIMITS, FAMILIES[family])
        runs = rollout(policy, ASKED, samples, LIMITS, FAMILIES[family])
        return [run async for run in runs if isinstance(run, Trajectory)]

    return asyncio.run(collect())


def graded(rates: Rates, **options: object) -> list[curate.Graded]:
    done = told(rates, **options)  # type: ignore[arg-type]
    return list(curate.grade(ASKED, done, Rules(), Tolerance()))


def test_an_oracle_that_never_errs_solves_everything_in_full_marks() -> None:
    rows = graded(SURE)
    assert len(rows) == 2 * len(ASKED)
    assert all(row.score.total == 2 and row.score.draw == 1 for row in rows)


def test_it_does_so_in_thousandths_too_but_for_rounding() -> None:
    rows = graded(SURE, family="qwen3-vl")
    assert len(rows) == 2 * len(ASKED)
    assert all(row.score.total == 2 and (row.score.draw or 0) > 0.9 for row in rows)


@pytest.mark.parametrize(
    ("rate", "stop"),
    [
        ("malformed", Stop.MALFORMED), ("bad_op", Stop.BAD_OP), ("repeat", Stop.REPEATED_OP),
        ("truncated", Stop.TRUNCATED), ("dither", Stop.TOO_MANY_TURNS), ("ramble", Stop.TOO_LONG),
    ],
)  # fmt: skip
def test_each_error_ends_in_its_stop_reason_at_about_its_rate(rate: str, stop: Stop) -> None:
    some = replace(SURE, slip_error=0.2, **{rate: 0.5})
    stops = Counter(t.stop for t in told(some))
    assert 0.25 < stops[stop] / sum(stops.values()) < 0.95, stops


def test_wrong_answers_come_at_their_rate_and_hopeless_problems_are_never_solved() -> None:
    wrong = [row.solved for row in graded(replace(SURE, wrong_answer=0.3), samples=4)]
    assert 0.6 < sum(wrong) / len(wrong) < 0.8
    passed = list(curate.pass_rates(ASKED, graded(replace(SURE, hopeless=0.3), samples=4)))
    assert {p.rate for p in passed} == {0.0, 1.0}


def test_sloppy_turns_cost_the_format_and_nothing_else() -> None:
    rows = graded(replace(SURE, lenient=0.5))
    assert all(row.solved for row in rows)
    assert 0.1 < sum(row.score.format for row in rows) / len(rows) < 0.7


def test_slips_are_seen_and_corrected_towards_the_truth() -> None:
    rows = graded(replace(SURE, slip=0.4, slip_error=0.2, notice=1.0))
    kinds = Counter(c.kind for row in rows for c in row.reflection.corrections)
    helped = [c.helped for row in rows for c in row.reflection.corrections]
    assert kinds[Correction.REFINE] > 50
    assert sum(bool(h) for h in helped) > 0.95 * len(helped)
    assert sum(row.score.draw or 0 for row in rows) > 0.93 * len(rows)  # what is not visible stays


def test_the_last_thought_claims_only_what_the_drawing_bears_out() -> None:
    counting = [n for n, problem in enumerate(ASKED) if problem.task == "counting"]
    rates = replace(Rates(), wrong_object=0.3, miss=0.2, notice=0.7)
    told = hedged = strays = 0
    for row in graded(rates, samples=6):
        last = row.trajectory.turns[-1].parsed
        if ASKED.index(row.problem) not in counting or not row.solved:
            continue
        assert isinstance(last, Answer)
        if last.thought in HEDGED:
            hedged += 1
        elif last.thought.startswith(STRAY):
            strays += 1
        elif last.thought.endswith(row.problem.conclusion):
            told += 1
            assert len(row.state.live) == len(row.problem.gold[0].ops)
            assert (row.score.draw or 0) > 0.8
    assert min(told, hedged, strays) > 3


@pytest.mark.parametrize(
    ("tried", "said"),
    [
        (box(30, 20, 90, 80), "too far right"), (box(20, 10, 80, 70), "too high"),
        (box(30, 21, 60, 80), "too narrow"), (box(20, 10, 81, 90), "too tall"),
        (box(120, 120, 180, 180), "on something else"), (line(20, 20, 80, 80), "drawn as a line"),
        (None, "is missing"),
    ],
)  # fmt: skip
def test_a_complaint_names_the_largest_fault(tried: Op | None, said: str) -> None:
    assert said in _complaint(plain_problem(), box(20, 20, 80, 80), tried)


def test_a_complaint_names_the_picture_where_there_are_several() -> None:
    image = plain_problem().images[0]
    assert "in picture 2" in _complaint(
        plain_problem(images=(image, image)), box(1, 1, 9, 9, k=2), None
    )


def test_wrong_types_and_wrong_objects_occur_and_what_is_not_noticed_misleads() -> None:
    rows = graded(replace(SURE, retype=0.3, wrong_object=0.3, notice=1.0))
    kinds = Counter(c.kind for row in rows for c in row.reflection.corrections)
    assert kinds[Correction.RETYPE] > 10
    blind = graded(replace(SURE, wrong_object=0.3, miss=0.1, notice=0.0, misled=1.0))
    assert sum(row.solved for row in blind) < 0.8 * len(blind)


def test_the_same_seed_writes_the_same_texts_and_another_seed_others() -> None:
    assert told(Rates()) == told(Rates())
    assert told(Rates()) != told(Rates(), seed=1)


def test_without_drawing_it_says_where_things_are_and_answers_at_once() -> None:
    async def collect(rates: Rates, family: str) -> list[Trajectory]:
        policy = Oracle(rates, 0, LIMITS, FAMILIES[family], draws=False)
        runs = rollout(policy, ASKED, 2, LIMITS, FAMILIES[family])
        return [run async for run in runs if isinstance(run, Trajectory)]

    sure = asyncio.run(collect(SURE, "qwen2.5-vl"))
    rows = list(curate.grade(ASKED, sure, Rules(), Tolerance()))
    assert all(row.solved and row.score.format == 1 and not row.state.live for row in rows)
    assert {len(row.trajectory.turns) for row in rows} == {1}
    for row in rows:
        gold = [op for step in row.problem.gold for op in step.ops]
        (x1, y1), (x2, y2) = gold[0].p
        text = row.trajectory.turns[0].text
        assert all(op.label in text for op in gold)
        assert f"{gold[0].label} from {x1}, {y1} to {x2}, {y2}" in text
    thousandths = asyncio.run(collect(SURE, "qwen3-vl"))
    assert thousandths[0].turns[0].text != sure[0].turns[0].text
    misled = Rates(
        **{**dict.fromkeys(Rates.__dataclass_fields__, 0.0), "wrong_object": 1.0, "misled": 1.0}
    )
    led = curate.grade(ASKED, asyncio.run(collect(misled, "qwen2.5-vl")), Rules(), Tolerance())
    assert not any(row.solved for row in led)


def test_it_goes_on_when_its_faults_are_told() -> None:
    limits = Limits(tell_faults=True)

    async def collect(rates: Rates) -> list[Stop]:
        policy = Oracle(rates, 0, limits, PIXELS)
        runs = rollout(policy, ASKED[:20], 1, limits, PIXELS)
        return [run.stop async for run in runs if isinstance(run, Trajectory)]

    assert len(asyncio.run(collect(replace(SURE, repeat=1, malformed=1)))) == 20
    stops = asyncio.run(collect(replace(SURE, malformed=0.5)))
    assert Counter(stops)[Stop.ANSWERED] > 10


def test_a_problem_without_gold_is_refused_with_its_name() -> None:
    bare = plain_problem(gold=())

    async def ask() -> None:
        async for _ in rollout(Oracle(SURE, 0, LIMITS, PIXELS), [bare], 1, LIMITS, PIXELS):
            pass

    with pytest.raises(ValueError, match="plain-1 has no gold ops"):
        asyncio.run(ask())


def test_a_turn_longer_than_the_limit_is_truncated() -> None:
    async def collect() -> list[Stop]:
        policy = Oracle(SURE, 0, LIMITS, PIXELS, max_tokens=30)
        runs = rollout(policy, ASKED[:10], 1, LIMITS, PIXELS)
        return [run.stop async for run in runs if isinstance(run, Trajectory)]

    assert set(asyncio.run(collect())) == {Stop.TRUNCATED}
