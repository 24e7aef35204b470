"""Plane geometry against counting pixels and against sampled points."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline import geometry
from pipeline.types import Point, Size

places = st.integers(-4, 12)
corners = st.tuples(st.builds(Point, places, places), st.builds(Point, places, places))


def inside(box: geometry.Corners) -> set[tuple[int, int]]:
    (x1, y1), (x2, y2) = box
    return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}


@given(corners.map(geometry.bounds), corners.map(geometry.bounds))
def test_overlap_is_that_of_the_pixels_inside(a: geometry.Corners, b: geometry.Corners) -> None:
    union = inside(a) | inside(b)
    assert geometry.iou(a, b) == (len(inside(a) & inside(b)) / len(union) if union else 0.0)
    assert geometry.iou(a, b) == geometry.iou(b, a)
    assert geometry.area(a) == len(inside(a))


@given(corners, st.integers(1, 8), st.integers(1, 8))
def test_a_line_meets_a_picture_if_one_of_its_points_is_in_it(
    line: geometry.Corners, width: int, height: int
) -> None:
    (x1, y1), (x2, y2) = line
    steps = (n / 2000 for n in range(2001))
    points = [(x1 + t * (x2 - x1), y1 + t * (y2 - y1)) for t in steps]

    def some_point_within(reach: float) -> bool:
        return any(
            -reach <= x <= width + reach and -reach <= y <= height + reach for x, y in points
        )

    meets = geometry.meets_picture(line, Size(width, height))
    assert meets or not some_point_within(-0.001)
    assert some_point_within(0.02) or not meets  # as far as sampling can tell


@given(corners, corners)
def test_the_distance_of_lines_does_not_depend_on_their_direction(
    a: geometry.Corners, b: geometry.Corners
) -> None:
    assert geometry.mean_end_distance(a, b) == geometry.mean_end_distance(a, b[::-1])
    assert geometry.mean_end_distance(a, a) == 0


@given(corners, places, places)
def test_the_distance_to_a_segment_is_that_to_its_nearest_point(
    line: geometry.Corners, x: int, y: int
) -> None:
    (x1, y1), (x2, y2) = line
    nearest = min(
        ((x - x1 - t * (x2 - x1)) ** 2 + (y - y1 - t * (y2 - y1)) ** 2) ** 0.5
        for t in (n / 1000 for n in range(1001))
    )
    assert abs(geometry.distance_to_segment(x, y, line) - nearest) < 0.02


@given(corners.map(geometry.bounds), st.integers(1, 8), st.integers(1, 8))
def test_a_clipped_box_is_the_part_inside(box: geometry.Corners, width: int, height: int) -> None:
    picture = {(x, y) for x in range(width) for y in range(height)}
    assert inside(geometry.clip_box(box, Size(width, height))) == inside(box) & picture
