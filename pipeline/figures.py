"""Pictures for people: a trajectory as a story, many as a contact sheet, counts as bars, curves.

Nothing here is shown to a model.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from pipeline import canvas
from pipeline.images import Pixels, decode
from pipeline.types import Answer, Fault, Problem, State, Step, Trajectory, View

FONT = cv2.FontFace("sans")
WEIGHT = 400  # always given: left out, OpenCV keeps the last one that any text was drawn with
INK = (30, 30, 35)
FAINT = (200, 200, 205)
BLUE = (40, 90, 200)
GAP = 10  # px
PANEL = (240, 150)  # px, of a curve with its numbers
LEFT, TOP, RIGHT, BOTTOM = 46, 26, 8, 20  # px from a panel's edges to its axes
NAME = 150  # px, of the names beside bars
BAR = 22  # px, of a bar and what parts it from the next


def story(problem: Problem, trajectory: Trajectory, state: State, side: int = 300) -> Pixels:
    """One trajectory, left to right: the question, then each turn's drawings and its thought.

    Args:
        state: what the trajectory came to (`rollout.retrace`).
        side: width of a column, px.
    """
    inputs = _shown(problem, state.views[: len(problem.images)], side)
    options = [f"{chr(ord('A') + n)}. {option}" for n, option in enumerate(problem.options)]
    columns = [_column(inputs, [problem.question, *options], side)]
    first = len(problem.images)
    for number, turn in enumerate(trajectory.turns):
        added = state.observed[number]
        views = state.views[first : first + added]
        first += added
        match turn.parsed:
            case Step(thought):
                words = [thought]
            case Answer(thought, text):
                words = [thought, f"Answer: {text}"]
            case Fault(reason, detail):
                words = [turn.text[:300], f"{reason}: {detail}"]
        if number == len(trajectory.turns) - 1:
            words.append(f"({trajectory.stop}; the truth is {problem.answer})")
        columns.append(_column(_shown(problem, views, side), words, side))
    return _beside(columns)


def plain_and_drawn(problem: Problem, state: State, side: int = 224, most: int = 4) -> Pixels:
    """A problem's pictures as they are, and with the marks that are live on them.

    One picture stands to the left of its drawing. Of several, those that carry marks stand in a row
    above theirs, at most ``most`` of them, spread evenly.

    Args:
        side: of the longer side of each, px.
    """
    marks = {
        n: tuple(m for m in state.live if m.base == n) for n in range(1, len(problem.images) + 1)
    }
    marked = [n for n, some in marks.items() if some] or [1]
    count = min(most, len(marked))
    shown = [marked[round(n * (len(marked) - 1) / max(1, count - 1))] for n in range(count)]
    plain = [_fitted(problem, View(n), side) for n in shown]
    drawn = [_fitted(problem, View(n, marks[n]), side) for n in shown]
    return _beside(plain + drawn) if count == 1 else np.vstack([_beside(plain), _beside(drawn)])


def contact_sheet(
    rows: Sequence[tuple[Problem, State, str]], side: int = 112, across: int = 6
) -> Pixels:
    """Many trajectories, one a row: inputs, then observations, then a caption below."""
    strips = []
    for problem, state, caption in rows:
        views = _thinned(state.views, across)
        strip = _beside([_fitted(problem, view, side) for view in views])
        strip = _on_paper(strip, across * (side + 2))
        strips += [strip, _text([caption], across * (side + 2), size=12, most=2)]
    return np.vstack(strips) if strips else np.full((side, side, 3), 255, np.uint8)


def webp(pixels: Pixels, quality: int = 80) -> bytes:
    """Small bytes for a page; not for a model."""
    ok, data = cv2.imencode(
        ".webp", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, quality]
    )
    if not ok:
        raise ValueError(f"OpenCV could not encode a sheet of shape {pixels.shape}")
    return data.tobytes()


def bars(counts: Mapping[str, int]) -> str:
    """Counts as a Markdown table with a bar for each, in the order given.

    Short on purpose: Dagster shows Markdown in place only up to 1,000 characters.
    """
    total, most = sum(counts.values()) or 1, max(counts.values(), default=0) or 1
    rows = [
        f"|{name}|{value}|{'█' * round(16 * value / most)} {value / total:.0%}|"
        for name, value in counts.items()
    ]
    return "\n".join(["| | | |", "|---|--:|---|", *rows])


def curves(series: Mapping[str, Sequence[tuple[float, float]]]) -> Pixels:
    """Small line plots beside each other, one a name: (x, y) points with the ends of both axes."""
    return _beside([_panel(name, points) for name, points in series.items()])


def _panel(name: str, points: Sequence[tuple[float, float]]) -> Pixels:
    width, height = PANEL
    sheet = np.full((height, width, 3), 255, np.uint8)
    cv2.putText(sheet, name, (LEFT, TOP - 9), INK, FONT, 13, WEIGHT)
    right, floor = width - RIGHT, height - BOTTOM
    cv2.line(sheet, (LEFT, TOP), (LEFT, floor), INK)
    cv2.line(sheet, (LEFT, floor), (right, floor), INK)
    if not points:
        return sheet
    (x1, x2), (y1, y2) = (_span([point[axis] for point in points]) for axis in (0, 1))
    for text, place in (
        (f"{y2:.2g}", (2, TOP + 10)),
        (f"{y1:.2g}", (2, floor)),
        (f"{x1:g}", (LEFT, height - 5)),
        (f"{x2:g}", (right - 8 * len(f"{x2:g}"), height - 5)),
    ):
        cv2.putText(sheet, text, place, INK, FONT, 11, WEIGHT)
    wide, high = right - LEFT, floor - TOP
    shown = [
        (LEFT + round((x - x1) / (x2 - x1) * wide), floor - round((y - y1) / (y2 - y1) * high))
        for x, y in points
    ]
    cv2.polylines(sheet, [np.array(shown, np.int32)], False, BLUE, 2, cv2.LINE_AA)
    cv2.circle(sheet, shown[-1], 3, BLUE, -1, cv2.LINE_AA)
    return sheet


def _span(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis; values that are all the same get some room."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def shares(rows: Sequence[tuple[str, float, float, float]], width: int = 520) -> Pixels:
    """Bars from 0 to 1 with intervals: (name, value, lower end, upper end), from top to bottom."""
    sheet = np.full((BAR * len(rows) + 2 * BAR, width, 3), 255, np.uint8)
    wide = width - NAME - 60

    def at(value: float) -> int:
        return NAME + round(value * wide)

    floor = BAR * len(rows) + 6
    for mark in (0, 0.25, 0.5, 0.75, 1):
        cv2.line(sheet, (at(mark), 4), (at(mark), floor), FAINT)
        cv2.putText(sheet, f"{mark:g}", (at(mark) - 4, floor + 16), INK, FONT, 11, WEIGHT)
    for n, (name, value, low, high) in enumerate(rows):
        top = 6 + BAR * n
        middle = top + (BAR - 6) // 2
        cv2.putText(sheet, name[:22], (4, top + 12), INK, FONT, 12, WEIGHT)
        cv2.rectangle(sheet, (at(0), top), (at(value), top + BAR - 7), BLUE, -1)
        cv2.line(sheet, (at(low), middle), (at(high), middle), INK, 2)
        for end in (low, high):
            cv2.line(sheet, (at(end), middle - 4), (at(end), middle + 4), INK, 2)
        cv2.putText(sheet, f"{value:.3f}", (at(1) + 10, top + 12), INK, FONT, 12, WEIGHT)
    return sheet


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, as short as it can be; the first column is text, the others numbers."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"|{'|'.join(line)}|" for line in lines)


def _shown(problem: Problem, views: Sequence[View], side: int) -> list[Pixels]:
    """Views for one column: one full width, up to four in a square, more in rows of four."""
    if len(views) <= 1:
        return [_fitted(problem, view, side) for view in views]
    across = 2 if len(views) <= 4 else 4
    small = side // across
    tiles = [_fitted(problem, view, small) for view in views]
    return [_beside(tiles[n : n + across]) for n in range(0, len(tiles), across)]


def _thinned(views: Sequence[View], most: int) -> list[View]:
    """At most so many views: the first, and the last ones, which carry the drawing."""
    return list(views) if len(views) <= most else [views[0], *views[len(views) - most + 1 :]]


def _fitted(problem: Problem, view: View, side: int) -> Pixels:
    """A view, drawn, its longer side scaled to ``side`` px, with a white frame of 1 px."""
    pixels = canvas.draw(decode(problem.images[view.base - 1]), view.marks)
    scale = side / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    frame = np.full((size[1] + 2, size[0] + 2, 3), 255, np.uint8)
    frame[1:-1, 1:-1] = cv2.resize(pixels, size, interpolation=how)
    return frame


def _column(pictures: Sequence[Pixels], paragraphs: Sequence[str], side: int) -> Pixels:
    parts = [_on_paper(picture, side + GAP) for picture in pictures]
    return np.vstack([*parts, _text(paragraphs, side + GAP, size=14, most=14)])


def _on_paper(pixels: Pixels, width: int) -> Pixels:
    sheet = np.full((pixels.shape[0] + 2, max(width, pixels.shape[1]), 3), 255, np.uint8)
    sheet[: pixels.shape[0], : pixels.shape[1]] = pixels
    return sheet


def _beside(tiles: Sequence[Pixels]) -> Pixels:
    """Tiles in a row, their upper edges level."""
    height = max(tile.shape[0] for tile in tiles)
    white = ((0, 0), (0, 0))
    padded = [np.pad(t, ((0, height - t.shape[0]), *white), constant_values=255) for t in tiles]
    return np.hstack(padded)


def _text(paragraphs: Sequence[str], width: int, size: int, most: int) -> Pixels:
    """Wrapped lines of text on paper, at most ``most`` of them."""
    lines = [line for paragraph in paragraphs for line in _wrapped(paragraph, width - GAP, size)]
    if len(lines) > most:
        lines = [*lines[: most - 2], "…", lines[-1]] if most > 2 else lines[:most]
    step = size + 5
    sheet = np.full((step * len(lines) + GAP, width, 3), 255, np.uint8)
    for n, line in enumerate(lines):
        cv2.putText(sheet, line, (4, step * (n + 1) - 2), INK, FONT, size, WEIGHT)
    return sheet


def _wrapped(text: str, width: int, size: int) -> list[str]:
    lines, line = [], ""
    for word in text[:2000].split():
        longer = f"{line} {word}".strip()
        left, _, wide, _ = cv2.getTextSize((width, width), longer, (0, 0), FONT, size, WEIGHT)
        if left + wide > width and line:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]
