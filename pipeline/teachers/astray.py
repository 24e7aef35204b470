"""Marks off their place: how far one lands beside what it should mark, and whether that is seen."""

from dataclasses import replace
from random import Random

from pipeline import geometry
from pipeline.types import Box, Op, Point, Problem

VISIBLE_BOX = 0.8  # IoU below which a box is seen to be off
VISIBLE_LINE = 0.15  # the same for the end of a line, in cells or tenths of the diagonal


def elsewhere(rng: Random, problem: Problem, gold: Op) -> Op:
    """The gold label on another object of the picture, or beside its own place."""
    objects = problem.scene.objects if problem.scene else ()
    others = [o for o in objects if type(o) is type(gold) and o.k == gold.k and o.p != gold.p]
    if others:
        return replace(gold, p=rng.choice(others).p)
    size = problem.images[gold.k - 1].size
    dx, dy = rng.choice((-1, 1)) * size.width // 4, rng.choice((-1, 1)) * size.height // 4
    a, b = (Point(p.x + dx, p.y + dy) for p in gold.p)
    return _inside(problem, replace(gold, p=(a, b)))


def moved(
    rng: Random, box_error: float, line_error: float, problem: Problem, op: Op, base: int
) -> Op:
    """An op with its points off by a normal error."""
    if isinstance(op, Box):
        (x1, y1), (x2, y2) = op.p
        across, down = (x2 - x1) * box_error, (y2 - y1) * box_error
    else:
        across = down = _reach(problem, base) * line_error
    a, b = (Point(round(rng.gauss(x, across)), round(rng.gauss(y, down))) for x, y in op.p)
    return _inside(problem, replace(op, k=base, p=(a, b)))


def _reach(problem: Problem, base: int) -> float:
    """The scale on which the ends of lines are placed, px: a grid cell, or a tenth of the diagonal."""
    if problem.scene and problem.scene.grid:
        return problem.scene.grid.cell
    return geometry.diagonal(problem.images[base - 1].size) / 10


def _inside(problem: Problem, op: Op) -> Op:
    """Clips to the picture; a box keeps at least 2 px a side."""
    size = problem.images[op.k - 1].size
    first, last = geometry.clip_box(op.p, size)
    if isinstance(op, Box):
        first, last = geometry.bounds((first, last))
        first = Point(min(first.x, size.width - 2), min(first.y, size.height - 2))
        last = Point(max(last.x, first.x + 2), max(last.y, first.y + 2))
    return replace(op, p=(first, last))


def visibly_off(problem: Problem, gold: Op, tried: Op | None) -> bool:
    """Whether an op drawn for a gold one is seen to be wrong on the picture; one left out is."""
    if tried is None or type(tried) is not type(gold):
        return True
    if isinstance(gold, Box):
        return geometry.iou(gold.p, tried.p) < VISIBLE_BOX
    reach = VISIBLE_LINE * _reach(problem, gold.k)
    return max(geometry.distance(a, b) for a, b in zip(gold.p, tried.p, strict=True)) > reach


def fault(gold: Op, tried: Op) -> str:
    """The largest of the errors of place and, for a box, of size, in a word."""
    (x1, y1), (x2, y2) = gold.p
    (a1, b1), (a2, b2) = tried.p
    errors = {
        ("far right", "far left"): (a1 + a2 - x1 - x2) / 2,
        ("low", "high"): (b1 + b2 - y1 - y2) / 2,
    }
    if isinstance(gold, Box):
        errors |= {("wide", "narrow"): a2 - a1 - x2 + x1, ("tall", "short"): b2 - b1 - y2 + y1}
    (more, less), error = max(errors.items(), key=lambda item: abs(item[1]))
    return more if error > 0 else less
