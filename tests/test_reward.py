"""S against the recipe's examples and a naive count of thresholds."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import reward
from pipeline.reward import Rules, letter, mean_relative_accuracy, number
from pipeline.rollout import Limits, retrace
from pipeline.types import Answer, Kind, Score, Step, Trajectory
from tests.conftest import box, line, plain_problem, run

OPTIONS = ("lamp", "table", "Chair", "4")


@pytest.mark.parametrize(
    "text",
    ["b", "B", "(B)", "B.", "b)", "[B]", "B:", "B. table", "(b) Table", "table", "Table.", "**B**"],
)
def test_every_way_to_say_b_is_b(text: str) -> None:
    assert letter(text, OPTIONS) == "B"


@pytest.mark.parametrize(
    "text",
    ["", "A or B", "A B", "AB", "B. lamp", "E", "Z", "the second", "A, B", "table lamp", "?"],
)
def test_no_letter_or_two_are_no_answer(text: str) -> None:
    assert letter(text, OPTIONS) is None


def test_a_lone_letter_is_the_letter_even_if_an_option_reads_so() -> None:
    assert letter("B", ("B", "A")) == "B"
    assert letter("4", OPTIONS) == "D"


def test_an_option_s_own_text_names_it_also_where_it_looks_like_something_else() -> None:
    assert letter("X", ("X", "Y")) == "A"
    assert letter(".5", ("5", ".5")) == "B"
    assert letter("A. .5", ("5", ".5")) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234", 1234), ("3 meters", 3), ("50%", Fraction(1, 2)), ("1/2", Fraction(1, 2)),
        ("three", 3), ("Twenty", 20), ("zero", 0), ("-5", -5), ("−5", -5), ("2e3", 2000),
        (".5", Fraction(1, 2)), ("about 3.", 3), ("3 or 3", 3), ("It is 7, I think", 7),
        ("12.50 m", Fraction(25, 2)), ("3m", 3), ("1,234,567.5", Fraction(2469135, 2)),
        ("minus 5", -5), ("- 5", -5), ("–5", -5), ("50 percent", Fraction(1, 2)), ("frame1: 5", 5),
        ("frame12: 5", 5), ("5.", 5), ("negative 5", -5), ("5 per cent", Fraction(1, 20)),
        ("There are chairs — five in all", 5), ("At this point three are left", 3),
    ],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(text: str, value: Fraction | int) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "none", "3 or 4", "one or two", "1,23", "3.4.5", "1/0", "1e400", "99**98**97", "m3", "NaN",
     "inf", "9" * 5000, "1e9999999999", "one hundred", "two thousand", "2.5 million", "5k",
     "one half", "two thirds", "1½", "±3", "10²", "no one", "1__0", "1/1" + "0" * 45, "1.e3",
     "minus five", "negative five", "-five", "non-zero", "point five", "five point five",
     "five percent", "five %", "2^2"],
)  # fmt: skip
def test_two_numbers_or_none_are_no_answer(text: str) -> None:
    assert number(text) is None


@given(st.text(max_size=200))
def test_any_text_is_a_number_or_none(text: str) -> None:
    value = number(text)
    assert value is None or abs(value) < 10**80


def test_relative_accuracy_has_the_documented_values() -> None:
    assert mean_relative_accuracy(Fraction(19), Fraction(20)) == 0.9
    assert mean_relative_accuracy(Fraction(7), Fraction(10)) == 0.4
    assert mean_relative_accuracy(Fraction(5), Fraction(5)) == 1.0
    assert mean_relative_accuracy(Fraction(0), Fraction(0)) == 1.0
    assert mean_relative_accuracy(Fraction(1), Fraction(0)) == 0.0


@given(st.integers(-200, 200), st.integers(-200, 200).filter(bool))
def test_relative_accuracy_equals_a_naive_count_over_thresholds(given_: int, truth: int) -> None:
    thresholds = [Decimal(50 + 5 * n) / 100 for n in range(10)]
    gap = Decimal(abs(given_ - truth))
    passed = sum(gap < (1 - theta) * abs(Decimal(truth)) for theta in thresholds)
    assert mean_relative_accuracy(Fraction(given_), Fraction(truth)) == passed / 10


def scored(turns: list[Step | Answer | str], rules: Rules = Rules(), **changes: object) -> Score:
    problem = plain_problem(**changes)
    done = run(problem, turns, Limits())
    assert isinstance(done, Trajectory)
    return reward.score(problem, done, retrace(problem, done), rules)


GOLD = [Step("The cat is here.", (box(20, 20, 80, 80),)), Answer("So.", "A")]


def test_gold_scores_two() -> None:
    assert scored(GOLD) == Score(correct=1.0, format=1.0, draw=1.0, total=2.0)


def test_a_wrong_answer_is_worth_nothing_however_well_formed() -> None:
    assert scored([GOLD[0], Answer("So.", "B")]).total == 0
    assert scored([GOLD[0], Answer("So.", "B")]).format == 1


def test_a_lenient_turn_costs_the_format_and_no_more() -> None:
    sloppy = "<think> The cat. </think> Action: Object Mapper\n``` json\n" + (
        '[{"index": 1, "bbox_2d": [20, 20, 80, 80], "label": "cat"}]\n```'
    )
    assert scored([sloppy, GOLD[1]]) == Score(correct=1.0, format=0.0, draw=1.0, total=1.0)


def test_without_an_answer_everything_but_the_drawing_is_zero() -> None:
    assert scored([GOLD[0], "I give up."]) == Score(correct=0.0, format=0.0, draw=1.0, total=0.0)


def test_a_fault_that_was_told_still_costs_the_format() -> None:
    problem = plain_problem()
    done = run(problem, ["Hm.", *GOLD], Limits(tell_faults=True))
    assert isinstance(done, Trajectory)
    score = reward.score(problem, done, retrace(problem, done), Rules())
    assert (score.correct, score.format, score.total) == (1.0, 0.0, 1.0)


def test_beta_and_the_drawing_weight_enter_as_written() -> None:
    numbers = {"kind": Kind.NUMBER, "options": (), "answer": "10"}
    near = [GOLD[0], Answer("So.", "7")]
    assert scored(near, **numbers).total == pytest.approx(1.4)
    assert scored(near, Rules(beta=0.4), **numbers).total == 0
    assert scored(near, Rules(w_draw=2), **numbers).total == pytest.approx(3.4)


def test_solved_uses_its_own_threshold_and_a_choice_must_be_right() -> None:
    close = Score(correct=0.9, format=1, draw=None, total=1.9)
    assert reward.solved(Kind.NUMBER, close, Rules())
    assert not reward.solved(Kind.NUMBER, close, Rules(solved_at=1.0))
    assert not reward.solved(Kind.CHOICE, close, Rules())


def test_drawing_quality_falls_with_error_with_surplus_and_with_what_is_missing() -> None:
    def drawing(*ops: object) -> float:
        score = scored([Step("I look.", ops), GOLD[1]])  # type: ignore[arg-type]
        assert score.draw is not None
        return score.draw

    exact = box(20, 20, 80, 80)
    assert drawing(exact) == 1
    assert drawing(box(20, 20, 80, 50)) == 0.5
    assert drawing(exact, box(150, 20, 180, 80)) == 0.5
    assert drawing(box(150, 20, 180, 80)) == 0
    assert drawing(line(20, 20, 80, 80)) == 0


def test_a_wild_mark_costs_also_while_something_is_missing() -> None:
    cat, dog = box(20, 20, 80, 80), box(120, 120, 200, 200, "dog")
    gold = (Step("Both.", (cat, dog)),)
    one = scored([Step("I look.", (cat,)), GOLD[1]], gold=gold).draw
    wild = scored([Step("I look.", (cat, box(150, 1, 170, 30))), GOLD[1]], gold=gold).draw
    assert (one, wild) == (0.5, pytest.approx(1 / 3))


def test_marks_that_hold_nothing_or_what_another_holds_better_are_needless() -> None:
    gold = (Step("Both.", (box(10, 10, 50, 50, label="a"), box(100, 100, 150, 150, label="b"))),)
    drawn = (
        box(12, 12, 52, 52, label="first"), box(20, 20, 60, 60, label="second"),
        box(160, 10, 190, 40, label="third"), box(105, 100, 150, 150, label="fourth"),
    )  # fmt: skip
    problem = plain_problem(gold=gold)
    told = run(problem, (Step("I box.", drawn), Answer("So.", "A")))
    assert isinstance(told, Trajectory)
    live = retrace(problem, told).live
    assert [mark.op.label for mark in reward.needless(problem, live)] == ["second", "third"]


def test_a_trajectory_that_was_cut_off_while_well_formed_is_still_well_formed() -> None:
    problem = plain_problem()
    done = run(problem, [GOLD[0]], Limits(max_turns=1))
    assert isinstance(done, Trajectory)
    score = reward.score(problem, done, retrace(problem, done), Rules())
    assert (score.correct, score.format, score.total) == (0, 1, 0)


def test_drawing_quality_is_unknown_without_gold() -> None:
    assert scored(GOLD, gold=(), scene=None).draw is None


def test_a_problem_whose_answer_is_no_number_is_our_fault_and_raises() -> None:
    with pytest.raises(ValueError, match="is no number"):
        scored(GOLD, kind=Kind.NUMBER, options=(), answer="many")
