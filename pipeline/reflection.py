"""Reflection: the same label drawn differently in another step, by two rules that are both reported.

``paper``: some two ops of different steps share a label and differ in (type, k, p), repeats apart.
``strict``: some op supersedes an earlier one and differs from it by more than a tolerance.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from pipeline import geometry
from pipeline.canvas import continues, normalise_label, overlap
from pipeline.types import Line, Mark, Op, Problem, Size, State

SAME_BOX = 0.9  # IoU from which a box counts as not moved
JITTER = 1  # px: a box whose sides moved no farther was not moved, however small it is
SAME_END = 0.02  # of the diagonal: up to here the end of a line counts as not moved


class Correction(StrEnum):
    REFINE = "refine"  # supersedes an op of its own type, moved by more than the tolerance
    RETYPE = "retype"  # supersedes an op of the other type
    RELOCATE = (
        "relocate"  # overlaps nothing, but its label names one object, drawn elsewhere before
    )


@dataclass(frozen=True, slots=True)
class Corrected:
    """One correction. ``helped``: the error to the true object fell; None where it is not known."""

    kind: Correction
    label: str
    earlier_step: int
    later_step: int
    helped: bool | None


@dataclass(frozen=True, slots=True)
class Reflection:
    paper: bool
    strict: bool
    corrections: tuple[Corrected, ...]

    @property
    def helped(self) -> bool:
        return any(c.helped for c in self.corrections)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """When an op repeats an earlier one: IoU ≥ ``iou``, ends within ``ends`` px. Exact by default."""

    iou: float = 1.0
    ends: float = 0.0


def reflect(problem: Problem, state: State, repeats: Tolerance = Tolerance()) -> Reflection:
    """Both rules over everything that a trajectory drew; ``state`` is what it came to."""
    groups = _same_label(executed(state))
    moved = [s for s in state.successions if differs(s.later, s.earlier, problem)]
    corrections = [
        _corrected(
            problem,
            Correction.REFINE if type(s.later.op) is type(s.earlier.op) else Correction.RETYPE,
            s.earlier,
            s.later,
        )
        for s in moved
    ]
    corrections += [
        _corrected(problem, Correction.RELOCATE, earlier, later)
        for earlier, later in _relocations(problem, state, groups)
    ]
    return Reflection(
        paper=_paper(groups, repeats),
        strict=bool(moved),
        corrections=tuple(
            sorted(corrections, key=lambda c: (c.later_step, c.earlier_step, c.label))
        ),
    )


def executed(state: State) -> Iterator[Mark]:
    """Every mark ever drawn, in the order of drawing."""
    k = len(state.problem.images)
    for step, added in enumerate(state.observed):
        for view in state.views[k : k + added]:
            for mark in view.marks:
                if mark.step == step:
                    yield mark
        k += added


def alike(op: Op, base: int) -> tuple[type, int, str]:
    """What an op shares with every op that it may repeat: type, base picture and label."""
    return type(op), base, normalise_label(op.label)


def same_place(a: Op, b: Op, tolerance: Tolerance) -> bool:
    """Whether two ops of one type lie within the tolerance of each other."""
    if a.p == b.p:
        return True
    if isinstance(a, Line):
        ends = [geometry.distance(p, q) for p, q in zip(a.p, b.p, strict=True)]
        return tolerance.ends > 0 and max(ends) <= tolerance.ends
    return tolerance.iou < 1 and geometry.iou(a.p, b.p) >= tolerance.iou


def differs(later: Mark, earlier: Mark, problem: Problem) -> bool:
    """Whether a successor is more than jitter.

    A box: IoU < 0.9, and some side moved by more than a pixel; a line: an end moved by more than
    2 % of the diagonal; or another type.
    """
    a, b = later.op, earlier.op
    if type(a) is not type(b):
        return True
    if isinstance(a, Line):
        reach = SAME_END * geometry.diagonal(_size(problem, later))
        return max(geometry.distance(p, q) for p, q in zip(a.p, b.p, strict=True)) > reach
    (x1, y1), (x2, y2) = a.p
    (x3, y3), (x4, y4) = b.p
    moved = max(abs(x1 - x3), abs(y1 - y3), abs(x2 - x4), abs(y2 - y4))
    return geometry.iou(a.p, b.p) < SAME_BOX and moved > JITTER


def _size(problem: Problem, mark: Mark) -> Size:
    return problem.images[mark.base - 1].size


def _repeated(later: Mark, earlier: Mark, tolerance: Tolerance) -> bool:
    """Whether a mark of the same label draws an earlier one again."""
    same = type(later.op) is type(earlier.op) and later.base == earlier.base
    return same and same_place(later.op, earlier.op, tolerance)


def _same_label(drawn: Iterable[Mark]) -> list[list[Mark]]:
    """The marks that share their label with another, label by label: nothing else can reflect."""
    by_label: dict[str, list[Mark]] = {}
    for mark in drawn:
        by_label.setdefault(normalise_label(mark.op.label), []).append(mark)
    return [marks for marks in by_label.values() if len(marks) > 1]


def _paper(groups: Iterable[Sequence[Mark]], repeats: Tolerance) -> bool:
    return any(
        a.step != b.step
        and (type(a.op), a.op.k, a.op.p) != (type(b.op), b.op.k, b.op.p)
        and not _repeated(b, a, repeats)
        for marks in groups
        for a, b in combinations(marks, 2)
    )


def _relocations(
    problem: Problem, state: State, groups: Sequence[Sequence[Mark]]
) -> Iterator[tuple[Mark, Mark]]:
    """A mark that supersedes nothing, where its label names one true object drawn elsewhere before.

    The latest such mark that was still live counts, once: two marks do not move the same one, and
    one that the same step supersedes has its heir already.
    """
    if not groups:
        return
    heirs = {id(s.later) for s in state.successions}
    died = {id(s.earlier): s.later.step for s in state.successions}
    moved: set[int] = set()
    for marks in groups:
        for n, later in enumerate(marks):
            if n == 0 or id(later) in heirs or len(_truths(problem, later)) != 1:
                continue
            for earlier in reversed(marks[:n]):
                dead = died.get(id(earlier), later.step + 1) <= later.step or id(earlier) in moved
                if not dead and earlier.step < later.step and _elsewhere(problem, earlier, later):
                    moved.add(id(earlier))
                    yield earlier, later
                    break


def _elsewhere(problem: Problem, earlier: Mark, later: Mark) -> bool:
    """Of marks with one label: on one picture, no overlap, and no line that goes on from another."""
    if earlier.base != later.base:
        return False
    a, b, size = later.op, earlier.op, _size(problem, later)
    if isinstance(a, Line) and isinstance(b, Line) and continues(a, b, size):
        return False
    return overlap(a, b, size) == 0


def _truths(problem: Problem, mark: Mark) -> list[Op]:
    """The true objects on a mark's picture that its label names."""
    if problem.scene is None:
        return []
    label = normalise_label(mark.op.label)
    return [
        op
        for op in problem.scene.objects
        if op.k == mark.base and normalise_label(op.label) == label
    ]


def _corrected(problem: Problem, kind: Correction, earlier: Mark, later: Mark) -> Corrected:
    return Corrected(
        kind=kind,
        label=later.op.label,
        earlier_step=earlier.step,
        later_step=later.step,
        helped=_helped(problem, earlier, later),
    )


def _helped(problem: Problem, earlier: Mark, later: Mark) -> bool | None:
    """Whether the error to the true object nearest the *earlier* op fell.

    None where the scene has no object of that label and type. An op of the wrong type is as wrong
    as can be, so that turning a box into the line that was meant helps.
    """
    truths = _truths(problem, earlier)
    alike = [t for t in truths if type(t) is type(earlier.op)]
    if alike:
        target = min(alike, key=lambda t: (geometry.error(earlier.op, t), _apart(earlier.op, t)))
        before = geometry.error(earlier.op, target)
    elif truths:
        target = truths[0] if len(truths) == 1 else min(truths, key=lambda t: _apart(earlier.op, t))
        before = float("inf")
    else:
        return None
    after = geometry.error(later.op, target) if type(later.op) is type(target) else float("inf")
    return after < before


def _apart(a: Op, b: Op) -> float:
    (x1, y1), (x2, y2) = a.p
    (x3, y3), (x4, y4) = b.p
    return abs(x1 + x2 - x3 - x4) + abs(y1 + y2 - y3 - y4)
