"""Drawing, tested by its pixels, and what supersedes what."""

import numpy as np
import pytest

from pipeline.canvas import PALETTE, identity, normalise_label, picture
from pipeline.images import decode, encode
from pipeline.types import Box, Modality, Op, Problem, State, Step
from tests.conftest import box, line, plain_problem, run

GREY = (200, 200, 200)


def drawn(*steps: tuple[Op, ...], problem: Problem | None = None) -> State:
    state = run(problem or plain_problem(), [Step("I look.", ops) for ops in steps])
    assert isinstance(state, State)
    return state


def pixels(state: State, k: int) -> np.ndarray:
    return decode(picture(state.problem, state.views[k - 1]))


def live(state: State) -> list[Op]:
    return [mark.op for mark in state.live]


def test_a_box_is_an_outline_inside_its_corners_and_leaves_the_rest_alone() -> None:
    seen = pixels(drawn((box(40, 60, 140, 160),)), 2)
    colour = PALETTE[0]
    for x, y in ((40, 110), (139, 110), (90, 159), (41, 110)):  # 2 px wide on 224 px
        assert tuple(seen[y, x]) == colour
    for x, y in ((39, 110), (140, 110), (90, 160), (90, 110), (10, 10)):
        assert tuple(seen[y, x]) == GREY


def test_a_line_runs_from_a_ring_to_a_disc() -> None:
    seen = pixels(drawn((line(40, 100, 160, 100),)), 2)
    assert tuple(seen[100, 100]) == PALETTE[0]
    assert tuple(seen[100, 40]) == (255, 255, 255)  # the ring is open
    assert tuple(seen[97, 160]) == PALETTE[0]  # the disc is filled
    assert tuple(seen[110, 100]) == GREY


@pytest.mark.parametrize("corner", [(0, 0), (190, 0), (0, 190), (190, 190)])
@pytest.mark.parametrize(
    "label", ["cat", "椅子", "a label that is far too long for the picture" * 4]
)
def test_a_label_is_always_drawn_and_inside_the_picture(
    corner: tuple[int, int], label: str
) -> None:
    x, y = corner
    bare = pixels(drawn((box(x, y, x + 34, y + 34, " \x01"),)), 2)
    seen = pixels(drawn((box(x, y, x + 34, y + 34, label),)), 2)
    changed = np.argwhere((seen != bare).any(axis=2))
    assert len(changed) > 20
    white = np.argwhere((seen > 215).all(axis=2))
    assert len(white) >= 3  # letters
    assert white.max() < 224


def test_a_label_goes_where_it_covers_least() -> None:
    first, second = box(60, 100, 120, 160, "a long label"), box(60, 84, 120, 99, "b")
    apart = pixels(drawn((first, second)), 2)
    assert (apart[84:99, 62:118] == GREY).all(axis=2).mean() > 0.7  # b's box is not covered


def test_an_observation_is_redrawn_from_the_pristine_picture() -> None:
    state = drawn((box(40, 60, 140, 160),), (box(50, 70, 150, 170, k=2),))
    seen = pixels(state, 3)
    assert tuple(seen[110, 40]) == GREY  # nothing is left of the first box
    assert tuple(seen[110, 50]) == PALETTE[0]  # and the second has its colour


def test_targeting_an_input_starts_clean_and_targeting_an_observation_goes_on_from_it() -> None:
    clean = drawn((box(10, 40, 50, 90, "a"),), (box(100, 100, 150, 150, "b", k=1),))
    onward = drawn((box(10, 40, 50, 90, "a"),), (box(100, 100, 150, 150, "b", k=2),))
    assert [mark.op.label for mark in clean.views[2].marks] == ["b"]
    assert [mark.op.label for mark in onward.views[2].marks] == ["a", "b"]
    assert len(clean.live) == len(onward.live) == 2


def test_one_observation_comes_back_for_each_distinct_target_in_order() -> None:
    grey = encode(np.full((112, 112, 3), 200, np.uint8))
    views = plain_problem(images=(grey, grey), modality=Modality.VIEWS, gold=(), scene=None)
    state = drawn(
        (box(1, 1, 9, 9, "a", 2), box(1, 1, 9, 9, "b", 1), box(20, 20, 40, 40, "c", 2)),
        problem=views,
    )
    assert [view.base for view in state.views] == [1, 2, 2, 1]
    assert [mark.op.label for mark in state.views[2].marks] == ["a", "c"]
    assert state.observed == (2,)


def test_a_moved_box_supersedes_and_one_elsewhere_is_one_more_instance() -> None:
    moved = drawn((box(40, 40, 80, 80),), (box(45, 45, 85, 85, k=2),))
    more = drawn((box(40, 40, 80, 80),), (box(140, 140, 180, 180, k=2),))
    assert live(moved) == [box(45, 45, 85, 85, k=2)]
    assert len(moved.successions) == 1
    assert len(live(more)) == 2
    assert more.successions == ()


def test_labels_differ_only_when_they_differ_after_normalising() -> None:
    assert normalise_label("  Red\tCHAIR ") == normalise_label("red chair")
    same = drawn((box(40, 40, 80, 80, "Red chair"),), (box(45, 45, 85, 85, "red  CHAIR", k=2),))
    other = drawn((box(40, 40, 80, 80, "chair"),), (box(45, 45, 85, 85, "table", k=2),))
    assert len(same.live) == 1
    assert len(other.live) == 2


def test_same_label_ops_of_one_step_are_separate_instances() -> None:
    state = drawn((box(40, 40, 80, 80, "coin"), box(50, 50, 90, 90, "coin")))
    assert len(state.live) == 2
    assert {mark.lineage for mark in state.live} == {0, 1}


def test_matching_is_one_to_one_and_takes_the_largest_overlap_first() -> None:
    first, second = box(40, 40, 80, 80, "coin"), box(60, 40, 100, 80, "coin")
    state = drawn((first, second), (box(61, 40, 101, 80, "coin", k=2),))
    assert [s.earlier.op for s in state.successions] == [second]
    both = drawn((first, second), (box(55, 40, 95, 80, "coin", 2), box(62, 40, 102, 80, "coin", 2)))
    assert {(s.earlier.op.p[0].x, s.later.op.p[0].x) for s in both.successions} == {
        (60, 62),
        (40, 55),
    }


def test_supersession_reaches_over_views_of_the_same_input_but_not_over_inputs() -> None:
    across = drawn((box(40, 40, 80, 80),), (box(45, 45, 85, 85, k=1),))
    assert len(across.successions) == 1
    grey = encode(np.full((112, 112, 3), 200, np.uint8))
    frames = plain_problem(images=(grey, grey), modality=Modality.VIDEO, gold=(), scene=None)
    apart = drawn((box(40, 40, 80, 80, k=1),), (box(45, 45, 85, 85, k=2),), problem=frames)
    assert apart.successions == ()


def test_a_superseded_mark_does_not_come_back_through_an_older_view() -> None:
    state = drawn((box(40, 40, 80, 80),), (box(45, 45, 85, 85, k=1),), (box(50, 50, 90, 90, k=2),))
    assert [mark.op.p[0].x for mark in state.views[3].marks] == [50]
    assert len(state.live) == 1


def test_a_moved_box_leaves_no_old_one_behind_in_any_observation_of_its_step() -> None:
    state = drawn(
        (box(40, 40, 80, 80),), (box(45, 45, 85, 85, k=1), box(140, 140, 180, 180, "dog", 2))
    )
    assert [[mark.op.label for mark in view.marks] for view in state.views[2:]] == [
        ["cat"],
        ["dog"],
    ]


def test_a_line_drawn_near_another_supersedes_it_in_either_direction() -> None:
    near = drawn((line(20, 20, 120, 20),), (line(24, 26, 118, 24, k=2),))
    turned = drawn((line(20, 20, 120, 20),), (line(116, 26, 28, 30, k=2),))
    far = drawn((line(20, 20, 120, 20),), (line(20, 120, 120, 120, k=2),))
    assert len(near.successions) == len(turned.successions) == 1
    assert far.successions == ()


def test_a_line_that_starts_where_another_ends_goes_on_from_it() -> None:
    onward = drawn((line(20, 20, 40, 20),), (line(40, 20, 60, 20, k=2),))
    back = drawn((line(20, 20, 60, 60),), (line(58, 60, 22, 21, k=2),))
    short = drawn((line(10, 10, 16, 10),), (line(10, 10, 17, 12, k=2),))
    assert len(back.successions) == len(short.successions) == 1
    beside = drawn((line(20, 20, 40, 20),), (line(30, 20, 50, 20, k=2),))
    assert onward.successions == ()
    assert len(beside.successions) == 1


def test_a_box_supersedes_the_line_that_meets_it_and_a_line_the_box() -> None:
    boxed = drawn((line(20, 50, 90, 50),), (box(30, 30, 80, 80, "way", k=2),))
    lined = drawn((box(30, 30, 80, 80, "way"),), (line(20, 50, 90, 50, k=2),))
    apart = drawn((line(20, 50, 90, 50),), (box(130, 130, 180, 180, "way", k=2),))
    assert [type(op) for op in live(boxed)] == [Box]
    assert len(lined.successions) == 1
    assert apart.successions == ()


def test_the_identity_of_a_view_is_that_of_its_pixels() -> None:
    problem = plain_problem()
    a, b = drawn((box(40, 40, 80, 80),)), drawn((box(40, 40, 80, 81),))
    again = drawn((box(40, 40, 80, 80),))
    assert identity(problem, a.views[1]) == identity(problem, again.views[1])
    assert identity(problem, a.views[1]) != identity(problem, b.views[1])
    assert identity(problem, a.views[0]) == problem.images[0].sha256
    assert picture(problem, a.views[1]).png == picture(problem, again.views[1]).png
    renamed = drawn((box(40, 40, 80, 80, "dog"),))
    assert identity(problem, a.views[1]) != identity(problem, renamed.views[1])


def test_drawing_the_same_marks_twice_gives_the_same_bytes_whatever_was_drawn_between() -> None:
    state = drawn((box(40, 40, 80, 80, "01#"), line(10, 10, 200, 90)))
    first = picture(state.problem, state.views[1]).png
    drawn((box(3, 3, 80, 80, "9: other"),))
    assert picture(state.problem, state.views[1]).png == first
