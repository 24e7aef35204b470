"""The filters, each with a row that it drops and one that it keeps, and that nothing is lost."""

from dataclasses import replace

import pytest

from pipeline import curate
from pipeline.curate import Graded
from pipeline.decisions import Decision
from pipeline.reflection import Tolerance
from pipeline.reward import Rules
from pipeline.rollout import Limits
from pipeline.types import Answer, Grid, Line, Problem, Scene, Step, Trajectory, Verdict
from tests.conftest import box, line, plain_problem, run

LOOK = Step("The cat is here.", (box(30, 30, 90, 90),))
MOVE = Step("A little off.", (box(20, 20, 80, 80, k=2),))
DONE = Answer("So.", "A")


def graded(*told: tuple[Step | Answer | str, ...], problem: Problem | None = None) -> list[Graded]:
    problem = problem or plain_problem()
    done = []
    for sample, turns in enumerate(told):
        finished = run(problem, turns, Limits(max_turns=6))
        assert isinstance(finished, Trajectory)
        done.append(Trajectory(problem.id, sample, finished.turns, finished.stop))
    return list(curate.grade([problem], done, Rules(), Tolerance()))


def reasons(rows: list[Graded], filters: list[curate.Filter]) -> list[str]:
    return [verdict.reason for _, verdict in curate.sift(rows, filters)]


def test_the_cold_filter_names_the_first_reason_for_every_row_and_keeps_the_rest() -> None:
    sloppy = "The cat. Action: Object Mapper\n```json\n" + (
        '[{"index": 1, "bbox_2d": [30, 30, 90, 90], "label": "cat"}]\n```'
    )
    rows = graded(
        (LOOK, MOVE, DONE),
        (LOOK, MOVE, DONE),
        (LOOK, DONE),
        (LOOK, MOVE, Answer("So.", "B")),
        (LOOK, "Hm."),
        (LOOK, LOOK),
        (sloppy, MOVE, DONE),
    )
    assert reasons(rows, curate.cold_filters(3)) == [
        "", "duplicate", "too_few_turns", "wrong", "malformed", "repeated_op", "format",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("paper", ["", "", "", "not_reflective"]),
        ("strict", ["", "", "not_reflective", "not_reflective"]),
        ("strict+helped", ["", "no_help", "not_reflective", "not_reflective"]),
        ("none", ["", "", "", ""]),
    ],
)
def test_the_reflective_filter_goes_by_the_rule_that_is_named(
    rule: str, expected: list[str]
) -> None:
    rows = graded(
        (LOOK, MOVE, DONE),
        (LOOK, Step("Hm.", (box(45, 45, 105, 105, k=2),)), DONE),
        (LOOK, Step("One more.", (box(150, 20, 200, 80, k=2),)), DONE),
        (LOOK, DONE),
    )
    # The third draws a cat elsewhere: with one true cat that is a relocation, and not strict.
    assert reasons(rows, curate.reflective_filters(rule)) == expected


def test_a_filter_sees_copies_only_within_a_problem() -> None:
    first, second = plain_problem(id="p1"), plain_problem(id="p2")
    rows = graded((LOOK, MOVE, DONE), problem=first) + graded((LOOK, MOVE, DONE), problem=second)
    assert reasons(rows, [curate.unique(curate.Copies())]) == ["", ""]


def test_a_copy_of_what_a_person_accepted_is_one_and_of_what_was_rejected_is_none() -> None:
    rows = graded((LOOK, DONE), (LOOK, DONE), (LOOK, MOVE, DONE), (LOOK, MOVE, DONE))
    by_hand = {rows[0].trajectory.id: Decision(True), rows[2].trajectory.id: Decision(False)}
    told = reasons(rows, curate.cold_filters(2, by_hand))
    assert told == ["accepted", "duplicate", "rejected", ""]


def test_texts_that_only_look_alike_when_joined_are_no_copies() -> None:
    (row,) = graded((LOOK, DONE))
    one = replace(row.trajectory, turns=(replace(row.trajectory.turns[0], text="a\0b"),))
    two = replace(
        row.trajectory, turns=tuple(replace(row.trajectory.turns[0], text=t) for t in "ab")
    )
    judge = curate.unique(curate.Copies())
    assert [judge(replace(row, trajectory=t)).keep for t in (one, two, one)] == [True, True, False]


def test_every_row_comes_out_once() -> None:
    rows = graded((LOOK, DONE), (LOOK, MOVE, DONE), ("Hm.",))
    out = list(curate.sift(rows, curate.cold_filters(3)))
    assert [row.trajectory.sample for row, _ in out] == [0, 1, 2]
    assert all(verdict.keep == (verdict.reason == "") for _, verdict in out)


GRID = Grid(left=2, top=2, cell=40, columns=5, rows=5)  # centres at 22, 62, 102, 142, 182


def on_grid(*ops: Line) -> Verdict:
    problem = plain_problem(scene=Scene(ops, "{}", GRID), gold=(Step("I trace.", ops),))
    (row,) = graded((Step("I trace.", ops), DONE), problem=problem)
    return curate.on_grid(row)


def test_a_line_along_the_centres_is_on_the_grid_and_so_is_one_a_fifth_of_a_cell_off() -> None:
    assert on_grid(line(22, 22, 142, 22)).keep
    assert on_grid(line(22, 30, 142, 30)).keep
    assert on_grid(line(22, 22, 142, 22), line(142, 22, 142, 102, "2")).keep


@pytest.mark.parametrize(
    "ops",
    [
        (line(22, 33, 142, 33),),  # 11 px of 40 off
        (line(22, 22, 142, 142 - 40),),  # cuts across cells
        (line(22, 22, 165, 22),),  # reaches into a cell and not to its centre
        (line(22, 22, 22, 220),),  # leaves the maze
        (line(22, 22, 10**6, 10**6),),  # far out of it
        (line(22, 22, 60, 45),),  # clips the corner of a cell on its way
    ],
)
def test_a_line_that_misses_a_centre_it_visits_is_dropped(ops: tuple[Line, ...]) -> None:
    verdict = on_grid(*ops)
    assert (verdict.keep, verdict.reason) == (False, "off_grid")


def test_a_line_that_ends_on_the_border_of_a_cell_does_not_visit_the_next() -> None:
    assert on_grid(line(22, 22, 42, 22)).keep


def test_only_the_lines_that_are_still_live_count() -> None:
    off, put_right = line(22, 36, 142, 36), line(22, 22, 142, 22, k=2)
    problem = plain_problem(scene=Scene((put_right,), "{}", GRID), gold=())
    (row,) = graded(
        (Step("I trace.", (off,)), Step("Higher.", (put_right,)), DONE), problem=problem
    )
    assert curate.on_grid(row).keep


def test_pass_rates_count_solved_samples_and_only_the_middle_is_learnable() -> None:
    wrong = Answer("So.", "B")
    told = {
        "p1": [(LOOK, DONE), (LOOK, wrong)],
        "p2": [(LOOK, DONE), (DONE,)],
        "p3": [(LOOK, wrong), ("Hm.",)],
    }
    rows = [row for name, t in told.items() for row in graded(*t, problem=plain_problem(id=name))]
    asked = [plain_problem(id=name) for name in ("p0", *told, "p4")]
    passed = list(curate.pass_rates(asked, rows))
    assert [(p.problem.id, p.samples, p.rate) for p in passed] == [
        ("p0", 0, 0.0), ("p1", 2, 0.5), ("p2", 2, 1.0), ("p3", 2, 0.0), ("p4", 0, 0.0),
    ]  # fmt: skip
    assert [curate.learnable(p, samples=2).reason for p in passed] == [
        "incomplete", "", "always_solved", "never_solved", "incomplete",
    ]  # fmt: skip


def test_rows_graded_together_are_as_they_are_alone() -> None:
    kinds = ((LOOK, MOVE, DONE), (LOOK, "Hm."), (LOOK, Answer("So.", "B")))
    count = 2 * curate.AT_ONCE + 1
    together = graded(*(kinds[n % 3] for n in range(count)))
    assert len(together) == count
    assert len({row.score for row in together}) == len(kinds)
    one_by_one = [
        curate.grade([row.problem], [row.trajectory], Rules(), Tolerance()) for row in together
    ]
    assert together == [row for rows in one_by_one for row in rows]


def test_trajectories_without_their_problem_are_our_fault_and_raise() -> None:
    rows = graded((LOOK, DONE))
    stray = Trajectory("elsewhere", 0, rows[0].trajectory.turns, rows[0].trajectory.stop)
    with pytest.raises(curate.Unmatched, match="elsewhere"):
        list(curate.grade([plain_problem()], [stray], Rules(), Tolerance()))


def test_problems_without_trajectories_are_passed_over() -> None:
    problems = [plain_problem(id=name) for name in ("p1", "p2", "p3")]
    done = [graded((LOOK, DONE), problem=p)[0].trajectory for p in (problems[0], problems[2])]
    pairs = [(p.id, t.problem_id) for p, t in curate.along(problems, done)]
    assert pairs == [("p1", "p1"), ("p3", "p3")]


def test_a_poor_drawing_is_dropped_where_the_truth_is_known() -> None:
    rows = graded((LOOK, DONE), (Step("There.", (box(150, 150, 190, 190),)), DONE))
    assert [row.score.draw and row.score.draw > 0.3 for row in rows] == [True, 0.0]
    assert reasons(rows, [curate.drawn_well(0.3)]) == ["", "poor_drawing"]
    unknown = [replace(row, score=replace(row.score, draw=None)) for row in rows]
    assert reasons(unknown, [curate.drawn_well(0.3)]) == ["", ""]
