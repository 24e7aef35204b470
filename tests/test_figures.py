"""Plots for people, by their pixels: what is larger is drawn higher or longer."""

import numpy as np
import pytest

from pipeline import canvas, figures
from pipeline.figures import BAR, BLUE, BOTTOM, LEFT, NAME, PANEL, RIGHT, TOP
from pipeline.grammar import write
from pipeline.images import Pixels, encode
from pipeline.rollout import Limits, advance, read_turn
from pipeline.types import State, Step
from tests.conftest import PIXELS, box, plain_problem


def blue(pixels: Pixels) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    """Where the colour of curves and bars is."""
    return np.asarray((np.abs(pixels.astype(int) - BLUE) < 40).all(axis=2))


def middle_row(pixels: Pixels, x: int) -> float:
    """The height of a curve at x."""
    found = np.flatnonzero(blue(pixels)[:, x])
    assert len(found), f"no curve at {x}"
    return float(found.mean())


def test_a_curve_that_falls_goes_down_from_the_upper_left_to_the_lower_right() -> None:
    sheet = figures.curves({"loss": [(0, 4.0), (1, 3.0), (2, 2.0)]})
    assert sheet.shape == (PANEL[1], PANEL[0], 3)
    left, right = LEFT + 1, PANEL[0] - RIGHT - 1
    heights = [middle_row(sheet, x) for x in (left, (left + right) // 2, right)]
    assert heights[0] == pytest.approx(TOP, abs=2)
    assert heights[1] == pytest.approx((TOP + PANEL[1] - BOTTOM) / 2, abs=2)
    assert heights[2] == pytest.approx(PANEL[1] - BOTTOM, abs=2)


def test_each_curve_has_a_panel_and_axes_and_numbers_of_its_own() -> None:
    sheet = figures.curves({"reward": [(1, 0.1), (2, 0.9)], "turns": [(1, 3.0), (2, 3.0)]})
    assert sheet.shape == (PANEL[1], 2 * PANEL[0], 3)
    for start in (0, PANEL[0]):
        panel = sheet[:, start : start + PANEL[0]]
        assert (panel[TOP : PANEL[1] - BOTTOM, LEFT] < 100).mean() > 0.9  # the upright axis
        numbers = panel[TOP : PANEL[1] - BOTTOM, : LEFT - 4]
        assert (numbers < 120).any()
    flat = sheet[:, PANEL[0] :]
    assert middle_row(flat, 100) == pytest.approx((TOP + PANEL[1] - BOTTOM) / 2, abs=2)


@pytest.mark.parametrize("points", [[], [(1, 2.0)], [(5, 0.0), (5, 0.0)]])
def test_a_curve_of_one_point_or_none_is_still_a_panel(points: list[tuple[float, float]]) -> None:
    sheet = figures.curves({"loss": points})
    assert sheet.shape == (PANEL[1], PANEL[0], 3)
    assert blue(sheet).any() == bool(points)


def test_bars_are_as_long_as_their_shares_and_carry_their_intervals() -> None:
    sheet = figures.shares([("base", 0.25, 0.1, 0.4), ("grpo", 0.75, 0.7, 0.8), ("none", 0, 0, 0)])
    wide = sheet.shape[1] - NAME - 60
    for n, (value, low, high) in enumerate([(0.25, 0.1, 0.4), (0.75, 0.7, 0.8)]):
        top = 6 + BAR * n
        bar = np.flatnonzero(blue(sheet)[top + 1])
        assert bar.max() - NAME == pytest.approx(value * wide, abs=2)
        dark = (sheet[top + (BAR - 6) // 2] < 60).all(axis=1)
        whisker = np.flatnonzero(dark[NAME : NAME + wide + 1])
        assert whisker.min() == pytest.approx(low * wide, abs=3)
        assert whisker.max() == pytest.approx(high * wide, abs=3)


def test_a_table_is_short_markdown() -> None:
    text = figures.table(("model", "accuracy"), [("base", "0.1"), ("cold", "0.2")])
    assert text == "|model|accuracy|\n|---|--:|\n|base|0.1|\n|cold|0.2|"


def test_a_plain_picture_stands_beside_its_drawing_and_several_above_theirs() -> None:
    grey = encode(np.full((60, 80, 3), 200, np.uint8))

    def drawn_on(*pictures: int) -> Pixels:
        turn = Step("Here.", tuple(box(10, 10, 60, 50, k=k) for k in pictures))
        now = canvas.opened(plain_problem(images=(grey, grey)))
        now = advance(now, read_turn(now, write(turn), PIXELS), Limits(), PIXELS)
        assert isinstance(now, State)
        return figures.plain_and_drawn(now.problem, now, side=80)

    one = drawn_on(2)  # the other picture is left out
    assert one.shape == (62, 2 * 82, 3)
    assert (one[1:-1, 1:81] == 200).all()
    assert (one[1:-1, 83:-1] != 200).any()
    both = drawn_on(1, 2)
    assert both.shape == (2 * 62, 2 * 82, 3)
    for left in (1, 83):
        assert (both[1:61, left : left + 80] == 200).all()
        assert (both[63:-1, left : left + 80] != 200).any()
