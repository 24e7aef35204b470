"""What is measured of the tasks: guesses see no answer, looks see no scene, gold solves all."""

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest

from benchmarks import blind, difficulty
from benchmarks.glance import HEURISTICS
from benchmarks.sight import read, tags
from pipeline.images import decode
from pipeline.reward import LETTERS, letter, number
from pipeline.tasks import TASKS
from pipeline.tasks.shapes import caption
from pipeline.types import Point

every_look = pytest.mark.parametrize("name", list(HEURISTICS))


def test_the_blind_guesser_is_shown_question_and_options_of_problems_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known: list[blind.Known] = []
    shown: list[tuple[str, Sequence[str]]] = []

    def fitted(problems: Sequence[blind.Known]) -> blind.Guess:
        known.extend(problems)

        def guess(question: str, options: Sequence[str]) -> str:
            shown.append((question, options))
            return "A" if options else "0"

        return guess

    monkeypatch.setattr(blind, "fitted", fitted)
    difficulty.measured("relation", 0.5, known=20, asked=15)
    asked = [difficulty.made("relation", 0.5, f"asked/{n}", "evaluation") for n in range(15)]
    assert shown == [(problem.question, problem.options) for problem in asked]
    assert len(known) == 20
    assert not {(q, *o) for q, o, _ in known} & {(q, *o) for q, o in shown}


def test_the_blind_guesser_finds_out_which_option_is_right_more_often() -> None:
    rng = Random(1)
    sets = [rng.sample(["red", "green", "blue"], 3) for _ in range(200)]
    known = [("Which one?", options, LETTERS[options.index("blue")]) for options in sets]
    guess = blind.fitted(known)
    assert guess("Which one?", ["blue", "red", "green"]) == "A"
    assert guess("Which one?", ["red", "green", "blue"]) == "C"


def test_the_blind_guesser_is_no_better_than_chance_where_nothing_gives_the_answer_away() -> None:
    rng = Random(2)
    options = ("a", "b", "c", "d")
    problems = [("Which?", options, rng.choice("ABCD")) for _ in range(2000)]
    guess = blind.fitted(problems[:1000])
    right = sum(guess(q, o) == answer for q, o, answer in problems[1000:])
    assert right / 1000 == pytest.approx(0.25, abs=0.05)


def test_a_number_is_guessed_as_what_solves_most_of_the_questions_like_it() -> None:
    known = [("How many cats are there?", (), str(n)) for n in (3, 3, 3, 7, 8)] * 8
    known += [("How long is the road?", (), str(n)) for n in (100, 109, 118, 40, 40)] * 8
    guess = blind.fitted(known)
    assert guess("How many cats are there?", ()) == "3"
    assert guess("How long is the road?", ()) == "109"  # near enough to three of five


@every_look
@pytest.mark.parametrize("level", difficulty.LEVELS)
def test_a_look_answers_from_pixels_and_words(name: str, level: float) -> None:
    for n in range(6):
        problem = difficulty.made(name, level, f"test/{n}", "evaluation")
        pixels = [decode(image) for image in problem.images]
        said = HEURISTICS[name](pixels, problem.question, problem.options)
        if problem.options:
            assert letter(said, problem.options) == said
        else:
            assert number(said) is not None


@pytest.mark.parametrize("name", list(TASKS))
def test_gold_solves_what_is_measured(name: str) -> None:
    for level in difficulty.LEVELS:
        assert difficulty.gold_solves(difficulty.made(name, level, "test/gold", "evaluation"))


def test_a_wrong_answer_solves_nothing_and_a_right_one_does() -> None:
    problem = difficulty.made("mirror", 0.5, "test/0", "evaluation")
    assert difficulty.solves(problem, problem.answer)
    assert not difficulty.solves(problem, "none of them")


def test_an_interval_is_wilsons() -> None:
    assert difficulty.interval(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert difficulty.interval(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_letters_are_read_where_they_are_written() -> None:
    pixels = np.full((120, 200, 3), 235, np.uint8)
    ink = (40, 60, 160)
    places = {name: Point(20 + 40 * n, 30 + 15 * n) for n, name in enumerate("BD7A")}
    for name, place in places.items():
        caption(pixels, name, place, 13, ink)
    spots = read(pixels, ink, "ABCD7")
    assert set(spots) == set(places)
    for name, place in places.items():
        assert spots[name] == pytest.approx(tuple(place), abs=3)


def test_tags_are_read_white_on_black_only() -> None:
    pixels = np.full((80, 80, 3), 200, np.uint8)
    pixels[30:44, 30:42] = 0
    caption(pixels, "C", Point(36, 37), 11, (255, 255, 255))
    caption(pixels, "A", Point(60, 60), 11, (255, 255, 255))
    assert set(tags(pixels, "ABC")) == {"C"}


def test_what_is_recorded_is_of_tasks_that_there_are_and_gold_solves_all_of_it() -> None:
    rows = difficulty.recorded()
    assert set(TASKS) <= {row.task for row in rows}
    for row in rows:
        assert row.gold == 1.0
        assert (row.look is None) == (row.task not in HEURISTICS)
