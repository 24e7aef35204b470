"""The shape of a set: caps and weights, against counting by hand."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pipeline import curate, shape
from pipeline.curate import Graded
from pipeline.decisions import ACCEPTED
from pipeline.shape import MOST_WEIGHT, Shape
from pipeline.types import KEPT, Kind, Problem, Verdict
from tests.conftest import plain_problem
from tests.test_curate import DONE, LOOK, graded


def rows_of(*problems: Problem, samples: int = 1) -> list[Graded]:
    return [row for p in problems for row in graded(*[(LOOK, DONE)] * samples, problem=p)]


def fit(rows: list[Graded], wanted: Shape) -> Counter[str]:
    """Verdicts by reason; every row has one."""
    return Counter(verdict.reason for _, verdict in fitted(rows, wanted))


def fitted(rows: list[Graded], wanted: Shape) -> list[tuple[Graded, Verdict]]:
    judge = shape.shaped(((row, KEPT) for row in rows), wanted)
    return list(curate.sift(rows, [judge]))


def kept(rows: list[Graded], wanted: Shape) -> list[str]:
    return [row.trajectory.id for row, verdict in fitted(rows, wanted) if verdict.keep]


def many(count: int, name: str = "p", **facts: object) -> list[Problem]:
    return [plain_problem(id=f"{name}{n:03}", **facts) for n in range(count)]


def test_a_smaller_set_is_drawn_from_what_passes_and_counts_the_rest() -> None:
    rows = [row for p in many(40) for row in graded((LOOK, DONE), ("Hm.",), problem=p)]
    passing = list(curate.sift(rows, [curate.answered]))
    few = [curate.answered, shape.shaped(passing, Shape(limit=10))]
    verdicts = [verdict for _, verdict in curate.sift(rows, few)]
    assert Counter(v.reason for v in verdicts) == {"": 10, "over_limit": 30, "malformed": 40}
    first = [row.problem.id for row, verdict in curate.sift(rows, few) if verdict.keep]
    assert first[-1] > "p020"  # from the whole set, not its beginning
    more = [curate.answered, shape.shaped(passing, Shape(limit=20))]
    assert {*first} < {row.problem.id for row, verdict in curate.sift(rows, more) if verdict.keep}


def test_a_limit_above_the_set_and_an_empty_set_drop_nothing() -> None:
    rows = rows_of(*many(5))
    assert fit(rows, Shape(per_problem=3, balance=(("task", 1.0),), limit=100)) == {"": 5}
    assert fitted([], Shape(per_problem=3, balance=(("task", 1.0),), limit=100)) == []


def test_no_problem_has_more_than_its_cap_and_who_stays_is_not_always_the_first() -> None:
    rows = rows_of(*many(12), samples=4)
    assert fit(rows, Shape(per_problem=2)) == {"": 24, "over_per_problem": 24}
    stay = kept(rows, Shape(per_problem=2))
    assert set(Counter(name.split("#")[0] for name in stay).values()) == {2}
    assert {name.split("#")[1] for name in stay} == {"0", "1", "2", "3"}


def test_no_task_has_more_than_so_many_times_the_median_task() -> None:
    sizes = {"maze": 30, "counting": 10, "views": 4}
    rows = rows_of(*(p for task, n in sizes.items() for p in many(n, task, task=task)))
    stay = kept(rows, Shape(balance=(("task", 1.5),)))
    assert Counter(name[:4] for name in stay) == {"maze": 15, "coun": 10, "view": 4}


def test_answers_are_balanced_within_each_task_and_letters_apart_from_numbers() -> None:
    letters = many(12, "a", task="one", answer="A") + many(4, "b", task="one", answer="B")
    number = {"kind": Kind.NUMBER, "options": (), "task": "two"}
    numbers = [*many(9, "c", answer="3", **number), *many(3, "d", answer="4", **number)]
    numbers += many(3, "e", answer="5", **number)
    stay = kept(rows_of(*letters, *numbers), Shape(balance=(("answer", 1.0),)))
    # medians: of 12 and 4 it is 8, of 9, 3 and 3 it is 3
    assert Counter(name[0] for name in stay) == {"a": 8, "b": 4, "c": 3, "d": 3, "e": 3}


def test_difficulty_is_balanced_by_bands() -> None:
    easy, hard = many(9, "e", difficulty=0.05), many(3, "h", difficulty=1.0)
    middle = many(3, "m", difficulty=0.5)
    stay = kept(rows_of(*easy, *middle, *hard), Shape(balance=(("difficulty", 1.0),)))
    assert Counter(name[0] for name in stay) == {"e": 3, "m": 3, "h": 3}


def test_caps_go_one_after_another_each_on_what_the_last_one_left() -> None:
    maze, views = many(6, "maze", task="maze"), many(2, "views", task="views")
    rows = rows_of(*maze, *views, samples=2)
    wanted = Shape(per_problem=1, balance=(("task", 1.0),), limit=5)
    # 16 rows, one of each of 8 problems; the median of 6 and 2 is 4; of 4 + 2, five.
    assert fit(rows, wanted) == {
        "": 5, "over_per_problem": 8, "over_represented": 2, "over_limit": 1,
    }  # fmt: skip


def test_the_order_of_rows_does_not_matter_to_who_stays() -> None:
    rows = rows_of(*many(30, "a", task="maze"), *many(10, "b", task="views"))
    wanted = Shape(balance=(("task", 1.2),), limit=25)
    assert {*kept(rows, wanted)} == {*kept(rows[::-1], wanted)}


def test_what_a_person_accepted_stays_besides() -> None:
    rows = rows_of(*many(10))
    hand = [(row, Verdict(True, ACCEPTED) if n < 3 else KEPT) for n, row in enumerate(rows)]
    judge = shape.shaped(hand, Shape(limit=2))
    assert sum(judge(row).keep for row in rows[3:]) == 2


@pytest.mark.parametrize("codes", [[], [4], [7, 8, 7, 7, 8], [0, 0, 0]])
def test_ranks_count_those_of_the_same_code_before(codes: list[int]) -> None:
    expected = [codes[:n].count(code) for n, code in enumerate(codes)]
    assert shape._rank(np.array(codes, np.int64)).tolist() == expected


@pytest.mark.parametrize("block", [1, 3, 4, 100])
def test_rows_over_their_cap_are_the_same_block_by_block(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shape, "BLOCK", block)
    codes, most = np.array([1, 0, 1, 1, 0, 2, 1]), np.array([1, 2, 0])
    rows = np.array([6, 5, 4, 3, 2, 1])  # of the first nobody asks
    over = [rows[:n].tolist() for n in range(len(rows))]
    expected = [
        sum(codes[r] == codes[row] for r in before) >= most[codes[row]]
        for before, row in zip(over, rows, strict=True)
    ]
    assert (
        shape._over(codes, rows, most).tolist()
        == expected
        == [False, True, False, False, True, True]
    )


def test_weights_make_all_values_weigh_the_same_and_one_on_the_whole() -> None:
    problems = [*many(6, "a", task="maze"), *many(2, "b", task="views")]
    weigh = shape.weights(problems, ["task"])
    assert [weigh(p) for p in (problems[0], problems[-1])] == [pytest.approx(4 / 6), 2.0]
    assert sum(map(weigh, problems)) == pytest.approx(8)


def test_weights_of_several_facets_go_by_their_combinations_and_have_a_top() -> None:
    common = many(99, "a", task="maze", answer="A")
    rare = many(1, "b", task="maze", answer="B")
    weigh = shape.weights([*common, *rare], ["task", "answer"])
    assert weigh(rare[0]) == MOST_WEIGHT
    assert weigh(replace(common[0], difficulty=0.9)) == pytest.approx(50 / 99)


def test_lots_that_floats_cannot_tell_apart_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape, "_lot", lambda name: 2**63 + int(name[1:4]))
    assert fit(rows_of(*many(40)), Shape(limit=10)) == {"": 10, "over_limit": 30}
    monkeypatch.setattr(shape, "_lot", lambda name: 2**62 + int(name[1:4]))
    assert fit(rows_of(*many(40)), Shape(limit=10)) == {"": 10, "over_limit": 30}
