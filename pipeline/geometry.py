"""Plane geometry of ops: overlap, distance, clipping. Pixels in, plain numbers out."""

from functools import lru_cache

from pipeline.types import Line, Op, Point, Size

Corners = tuple[Point, Point]


def area(box: Corners) -> int:
    """px²; 0 for a box without width or height."""
    (x1, y1), (x2, y2) = box
    return max(0, x2 - x1) * max(0, y2 - y1)


def iou(a: Corners, b: Corners) -> float:
    """Intersection over union of two boxes, 0..1."""
    (ax1, ay1), (ax2, ay2) = a
    (bx1, by1), (bx2, by2) = b
    if ax2 <= bx1 or bx2 <= ax1 or ay2 <= by1 or by2 <= ay1:  # most pairs end here
        return 0.0
    across = (ax2 if ax2 < bx2 else bx2) - (ax1 if ax1 > bx1 else bx1)
    down = (ay2 if ay2 < by2 else by2) - (ay1 if ay1 > by1 else by1)
    shared = across * down
    if shared <= 0:
        return 0.0
    return shared / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared)


def distance(a: Point, b: Point) -> float:
    (x1, y1), (x2, y2) = a, b
    x, y = x1 - x2, y1 - y2
    return float((x * x + y * y) ** 0.5)


@lru_cache(maxsize=1024)  # sizes are few
def diagonal(size: Size) -> float:
    return float((size.width**2 + size.height**2) ** 0.5)


def mean_end_distance(a: Corners, b: Corners) -> float:
    """Mean distance between the ends of two lines, px, in the better of the two directions."""
    # `distance`, spelled out: this is asked of every pair.
    ((x1, y1), (x2, y2)), ((x3, y3), (x4, y4)) = a, b
    p, q, r, s = x1 - x3, y1 - y3, x2 - x4, y2 - y4
    along = (p * p + q * q) ** 0.5 + (r * r + s * s) ** 0.5
    p, q, r, s = x1 - x4, y1 - y4, x2 - x3, y2 - y3
    against = (p * p + q * q) ** 0.5 + (r * r + s * s) ** 0.5
    return float(along if along < against else against) / 2


def bounds(points: Corners) -> Corners:
    """Top left and bottom right of what two points span."""
    (x1, y1), (x2, y2) = points
    return Point(min(x1, x2), min(y1, y2)), Point(max(x1, x2), max(y1, y2))


def clip_box(box: Corners, size: Size) -> Corners:
    """The part of a box inside its picture; it may be left without an area."""
    (x1, y1), (x2, y2) = box
    return (
        Point(min(max(x1, 0), size.width), min(max(y1, 0), size.height)),
        Point(min(max(x2, 0), size.width), min(max(y2, 0), size.height)),
    )


def meets_picture(line: Corners, size: Size) -> bool:
    """Whether a segment touches the rectangle (0, 0)..(width, height), by Liang–Barsky clipping."""
    (x1, y1), (x2, y2) = line
    enter, leave = 0.0, 1.0
    for step, low, high in ((x2 - x1, -x1, size.width - x1), (y2 - y1, -y1, size.height - y1)):
        if step == 0:
            if low > 0 or high < 0:
                return False
            continue
        first, last = sorted((low / step, high / step))
        enter, leave = max(enter, first), min(leave, last)
    return enter <= leave


def distance_to_segment(x: float, y: float, line: Corners) -> float:
    """px from a point to the nearest point of a segment."""
    (x1, y1), (x2, y2) = line
    dx, dy = x2 - x1, y2 - y1
    length2 = dx * dx + dy * dy
    t = 0.0 if length2 == 0 else min(1.0, max(0.0, ((x - x1) * dx + (y - y1) * dy) / length2))
    return float(((x - x1 - t * dx) ** 2 + (y - y1 - t * dy) ** 2) ** 0.5)


def error(op: Op, truth: Op) -> float:
    """How far an op is from the op of its own type that is true: 1 − IoU, or px between ends."""
    if isinstance(op, Line):
        return mean_end_distance(op.p, truth.p)
    return 1 - iou(op.p, truth.p)
