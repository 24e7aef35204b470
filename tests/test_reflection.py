"""Both rules of reflection, what each leaves out, and what a correction was worth."""

import pytest

from pipeline.reflection import Correction, Reflection, Tolerance, reflect
from pipeline.rollout import Limits
from pipeline.types import Op, Scene, State, Step
from tests.conftest import box, line, plain_problem, run


def reflected(
    *steps: tuple[Op, ...], repeats: Tolerance = Tolerance(), **changes: object
) -> Reflection:
    problem = plain_problem(**changes)
    state = run(problem, [Step("I look.", ops) for ops in steps], Limits(max_turns=20))
    assert isinstance(state, State)
    return reflect(problem, state, repeats)


def kinds(found: Reflection) -> list[Correction]:
    return [c.kind for c in found.corrections]


def test_a_moved_box_is_reflective_under_both_rules() -> None:
    found = reflected((box(30, 30, 90, 90),), (box(20, 20, 80, 80, k=2),))
    assert found.paper
    assert found.strict
    assert kinds(found) == [Correction.REFINE]
    assert found.helped


def test_a_move_away_from_the_truth_did_not_help() -> None:
    found = reflected((box(20, 20, 80, 80),), (box(40, 40, 100, 100, k=2),))
    assert found.strict
    assert [c.helped for c in found.corrections] == [False]


def test_jitter_is_paper_and_not_strict() -> None:
    found = reflected((box(20, 20, 80, 80),), (box(21, 20, 80, 80, k=2),))
    assert (found.paper, found.strict) == (True, False)


def test_a_pixel_is_jitter_on_a_small_box_too() -> None:
    small = reflected((box(20, 20, 36, 36),), (box(21, 21, 37, 37, k=2),))
    assert (small.paper, small.strict) == (True, False)


@pytest.mark.parametrize("turned", [False, True])
def test_help_does_not_depend_on_the_order_of_the_scene(turned: bool) -> None:
    cats = (box(10, 10, 30, 30), box(150, 150, 200, 200))
    scene = Scene(cats[::-1] if turned else cats, "{}")
    found = reflected((box(100, 100, 149, 149),), (box(140, 140, 200, 200, k=2),), scene=scene)
    assert [c.helped for c in found.corrections] == [True]


def test_two_chairs_in_one_step_are_neither() -> None:
    found = reflected((box(20, 20, 80, 80, "chair"), box(120, 20, 180, 80, "chair")))
    assert (found.paper, found.strict) == (False, False)


def test_one_more_instance_is_paper_only() -> None:
    found = reflected((box(20, 20, 80, 80, "coin"),), (box(120, 20, 180, 80, "coin", k=2),))
    assert (found.paper, found.strict, kinds(found)) == (True, False, [])


def test_the_same_place_on_another_view_is_paper_by_the_letter_only_if_not_repeated() -> None:
    other_label = reflected((box(20, 20, 80, 80, "a"),), (box(20, 20, 80, 80, "b", k=2),))
    assert (other_label.paper, other_label.strict) == (False, False)


def test_near_repeats_do_not_count_when_the_tolerance_says_so() -> None:
    steps = (box(20, 20, 80, 80),), (box(21, 20, 80, 80, k=2),)
    assert reflected(*steps).paper
    # Within the tolerance the rollout itself stops; the rule must agree when asked on its own.
    problem = plain_problem()
    state = run(problem, [Step("I look.", ops) for ops in steps])
    assert isinstance(state, State)
    assert not reflect(problem, state, Tolerance(iou=0.95)).paper


def test_an_object_followed_over_two_pictures_is_paper_only() -> None:
    import numpy as np

    from pipeline.images import encode

    grey = encode(np.full((112, 112, 3), 200, np.uint8))
    found = reflected(
        (box(20, 20, 80, 80),), (box(25, 25, 85, 85, k=2),),
        images=(grey, grey), gold=(), scene=None,
    )  # fmt: skip
    assert (found.paper, found.strict) == (True, False)


def test_a_moved_line_is_both_and_a_continued_one_only_paper() -> None:
    moved = reflected((line(20, 20, 120, 20),), (line(20, 20, 120, 40, k=2),))
    onward = reflected((line(20, 20, 120, 20),), (line(120, 20, 120, 90, k=2),))
    assert (moved.paper, moved.strict) == (True, True)
    assert (onward.paper, onward.strict) == (True, False)


@pytest.mark.parametrize("turned", [False, True])
def test_a_box_turned_into_a_line_is_a_retype_that_helps_only_towards_the_truth(
    turned: bool,
) -> None:
    as_box, as_line = box(20, 20, 80, 24, "way"), line(20, 22, 80, 22)
    scene = Scene((as_line,), "{}")
    first, second = (
        (as_line, box(20, 20, 80, 24, "way", 2)) if turned else (as_box, line(20, 22, 80, 22, k=2))
    )
    found = reflected((first,), (second,), scene=scene, gold=(Step("I look.", (as_line,)),))
    assert kinds(found) == [Correction.RETYPE]
    assert found.strict
    assert found.helped is not turned


def test_a_box_moved_off_the_wrong_object_is_a_relocation_that_helped() -> None:
    found = reflected((box(120, 120, 200, 200, "cat"),), (box(20, 20, 80, 80, "cat", k=2),))
    assert kinds(found) == [Correction.RELOCATE]
    assert (found.strict, found.helped) == (False, True)


def test_going_on_with_a_line_relocates_nothing_and_one_mark_is_moved_once() -> None:
    way = Scene((line(20, 20, 200, 20),), "{}")
    onward = reflected((line(20, 20, 110, 20),), (line(110, 20, 200, 20, k=2),), scene=way, gold=())
    assert kinds(onward) == []
    two = (box(20, 20, 60, 60, k=2), box(150, 20, 180, 60, k=2))
    assert kinds(reflected((box(120, 120, 200, 200),), two)) == [Correction.RELOCATE]


def test_what_a_step_supersedes_is_not_relocated_by_it_too() -> None:
    both = (box(130, 130, 200, 200, k=2), box(20, 20, 60, 60, k=2))
    assert kinds(reflected((box(120, 120, 190, 190),), both)) == [Correction.REFINE]


def test_without_truth_nothing_is_known_of_help() -> None:
    found = reflected((box(30, 30, 90, 90),), (box(20, 20, 80, 80, k=2),), scene=None, gold=())
    assert [c.helped for c in found.corrections] == [None]
    assert not found.helped
