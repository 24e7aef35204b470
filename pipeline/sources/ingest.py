"""The one way in for a row that people have already: a `Given`, in which nothing is believed.

Guarantees: pictures come in through `images`, frames through `video`; paths stay in their folder;
marks are scaled once, with their picture; what cannot be asked or graded is refused with a reason.
Does not: know where a row came from, or choose its split.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline import images, video
from pipeline.geometry import area, bounds, clip_box, meets_picture
from pipeline.grammar import MAX_LABEL, MAX_OPS, clean
from pipeline.images import PictureError
from pipeline.reward import LETTERS, letter, plain
from pipeline.types import (
    SPLITS,
    Box,
    Image,
    Kind,
    Line,
    Modality,
    Op,
    Point,
    Problem,
    Scene,
    Size,
    Step,
    Verdict,
)

MAX_PICTURES = 64  # of one row
MAX_TEXT = 20_000  # characters of a question, an option, a thought
MAX_ASPECT = 100  # of a picture: processors of the families refuse 200
FRAMES = 16  # of a video
THOUGHT = "I mark what the question is about."
CONCLUSION = "The marks show what is asked."


class BadRow(StrEnum):
    """Why a row is no problem; a refused picture is ``picture_`` and its `BadPicture`."""

    NO_QUESTION = "no_question"
    NO_ANSWER = "no_answer"
    NO_PICTURE = "no_picture"
    NOT_TEXT = "not_text"
    TOO_LONG = "text_too_long"
    NOT_A_PICTURE = "not_a_path_or_bytes"
    TOO_MANY_PICTURES = "too_many_pictures"
    TOO_NARROW = "picture_too_narrow"
    UNREADABLE = "picture_unreadable"
    UNKNOWN_TYPE = "unknown_question_type"
    UNKNOWN_SPLIT = "unknown_split"
    BAD_OPTIONS = "bad_options"
    NO_SUCH_OPTION = "answer_is_no_option"
    BAD_MARKS = "bad_marks"
    IMAGES_DISAGREE = "images_disagree"
    NOT_A_CONVERSATION = "not_a_conversation"


@dataclass(frozen=True, slots=True)
class Given:
    """One row as it was found. Cells may be anything at all."""

    number: int  # of the row in its source, from 1
    place: str  # for people
    question: Any
    answer: Any
    options: Any = None
    kind: Any = None  # "choice" or "number"; None: a choice if there are options
    by_index: bool = False  # the answer is the place of an option, from 0
    pictures: Any = ()
    video: Any = None
    modality: Modality | None = None  # None: by the number of pictures
    marks: Any = None
    thought: Any = None
    conclusion: Any = None
    group: Any = None
    split: Any = None  # None: chosen by what is shown
    turns: tuple[str, ...] = ()  # what was said before: the texts of its trajectory


@dataclass(frozen=True, slots=True)
class Frame:
    """What pictures of a version must fit: patch unit, px, and the most px of a picture's area."""

    unit: int
    max_pixels: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A problem that could not be made, and why."""

    id: str
    task: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Ingested:
    """A problem whose split is not chosen yet: ``key`` is what chooses it, if the row does not."""

    number: int
    problem: Problem
    key: bytes = field(repr=False)
    split: str | None = None  # as the row says


class RowError(Exception):
    """A row's fault, on its way to its verdict: a reason and a detail."""


def ingest(name: str, given: Given, root: Path | None, frame: Frame) -> Ingested | Verdict:
    """A row as a problem of the import ``name``; without an id, which names its split.

    Args:
        root: the folder that no path may leave; None: pictures are bytes, and paths are refused.
    """
    try:
        return _ingested(name, given, root, frame)
    except RowError as error:
        return Verdict(False, *map(str, error.args))
    except PictureError as error:
        return Verdict(False, f"picture_{error.reason}", clean(error.detail))


def _ingested(name: str, given: Given, root: Path | None, frame: Frame) -> Ingested:
    question = text(given.question, BadRow.NO_QUESTION)
    options, answer, kind = _asked(given)
    if given.video not in (None, ""):
        modality, before, shown = Modality.VIDEO, *_video(given.video, root, frame)
    else:
        before, shown = _pictures(given.pictures, root, frame)
        usual = Modality.IMAGE if len(shown) == 1 else Modality.VIEWS
        modality = given.modality or usual
    gold, objects = _marked(given, before, shown)
    facts = {"row": clean(given.place), "sizes": [[*size] for size in before]}
    problem = Problem(
        id="",
        task=name,
        modality=modality,
        images=shown,
        question=question,
        options=options,
        answer=answer,
        kind=kind,
        gold=gold,
        conclusion=_or(given.conclusion, CONCLUSION) if gold else "",
        scene=Scene(objects, json.dumps(facts, sort_keys=True)),
    )
    return Ingested(given.number, problem, _key(given.group, problem), _split(given.split))


def _split(cell: Any) -> str | None:
    if cell in (None, "") or cell in SPLITS:
        return cell or None
    raise RowError(BadRow.UNKNOWN_SPLIT, f"{str(cell)[:80]!r} of {', '.join(SPLITS)}")


def _key(group: Any, problem: Problem) -> bytes:
    """What rows of one split have in common: their group, else what they show first."""
    what = repr(group) if group not in (None, "") else looks(problem)[0]
    return hashlib.blake2b(what.encode(errors="replace"), digest_size=16).digest()


def looks(problem: Problem) -> tuple[str, ...]:
    """What no other split may show: each picture, or a video as a whole."""
    shas = [image.sha256 for image in problem.images]
    return ("/".join(shas),) if problem.modality is Modality.VIDEO else tuple(dict.fromkeys(shas))


def drawn_at(problem: Problem) -> tuple[Size, ...]:
    """The sizes that an imported problem's pictures had before they came in."""
    assert problem.scene is not None, f"{problem.id} is not imported"
    return tuple(Size(*size) for size in json.loads(problem.scene.geometry)["sizes"])


# Texts -------------------------------------------------------------------------------------------


def text(cell: Any, lacking: BadRow) -> str:
    """A cell that must hold words; a number is said as it is."""
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        cell = repr(cell)
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        raise RowError(lacking, "")
    if not isinstance(cell, str):
        raise RowError(BadRow.NOT_TEXT, type(cell).__name__)
    if len(cell) > MAX_TEXT:
        raise RowError(BadRow.TOO_LONG, f"{len(cell)} characters")
    if cell != clean(cell):
        raise RowError(BadRow.NOT_TEXT, "bytes or characters that are no Unicode text")
    return cell.strip()


def _or(cell: Any, otherwise: str) -> str:
    return otherwise if cell in (None, "") else text(cell, BadRow.NOT_TEXT)


def _asked(given: Given) -> tuple[tuple[str, ...], str, Kind]:
    """Options, answer and kind."""
    options = _options(given.options)
    kind = given.kind or ("choice" if options else "number")
    if kind == "number":
        return (), text(given.answer, BadRow.NO_ANSWER), Kind.NUMBER
    if not 2 <= len(options) <= len(LETTERS):
        raise RowError(BadRow.BAD_OPTIONS, f"{len(options)} options")
    said = text(given.answer, BadRow.NO_ANSWER)
    if given.by_index:
        chosen = LETTERS[int(said)] if said.isdecimal() and int(said) < len(options) else None
    else:
        chosen = letter(said, options)
    if chosen is None:
        raise RowError(BadRow.NO_SUCH_OPTION, said[:80])
    return options, chosen, Kind.CHOICE


def _options(cell: Any) -> tuple[str, ...]:
    if cell in (None, ""):
        return ()
    if not isinstance(cell, list | tuple):
        raise RowError(BadRow.BAD_OPTIONS, f"{type(cell).__name__}, not a list")
    if len(cell) > len(LETTERS):
        raise RowError(BadRow.BAD_OPTIONS, f"{len(cell)} options")
    options = tuple(text(option, BadRow.BAD_OPTIONS) for option in cell)
    led = [option[:3] for option in options]
    if options and all(
        start in (f"{x}. ", f"{x}: ", f"{x}) ") for start, x in zip(led, LETTERS, strict=False)
    ):
        options = tuple(option[3:].strip() for option in options)
    if len({plain(option) for option in options}) < len(options):
        raise RowError(BadRow.BAD_OPTIONS, "two options are the same")
    return options


# Pictures ----------------------------------------------------------------------------------------


def _pictures(
    cells: Any, root: Path | None, frame: Frame
) -> tuple[tuple[Size, ...], tuple[Image, ...]]:
    """The sizes that pictures had, and what is shown of them."""
    found = [one for cell in _several(cells) for one in _several(cell) if one not in (None, "")]
    if not found:
        raise RowError(BadRow.NO_PICTURE, "")
    if len(found) > MAX_PICTURES:
        raise RowError(BadRow.TOO_MANY_PICTURES, str(len(found)))
    sized = [_shown(_opened(cell, root), frame) for cell in found]
    return tuple(size for size, _ in sized), tuple(image for _, image in sized)


def _several(cell: Any) -> list[Any]:
    return list(cell) if isinstance(cell, list | tuple) else [cell]


def _opened(cell: Any, root: Path | None) -> images.Pixels:
    try:
        return images.read(_place(cell, root))
    except OSError as error:
        raise RowError(BadRow.UNREADABLE, str(error.strerror)) from None


def _place(cell: Any, root: Path | None) -> Path | bytes:
    """A cell as bytes, or as a path within the folder."""
    if isinstance(cell, Mapping):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, bytes):
        return cell
    if not isinstance(cell, str):
        raise RowError(BadRow.NOT_A_PICTURE, type(cell).__name__)
    if root is None:
        raise PictureError(images.BadPicture.OUTSIDE, f"{cell[:80]!r}: the import has no folder")
    try:
        return images.within(root, cell)
    except UnicodeEncodeError:
        raise RowError(BadRow.NOT_TEXT, "a path that is no Unicode text") from None


def _shown(pixels: images.Pixels, frame: Frame) -> tuple[Size, Image]:
    size = images.size_of(pixels)
    if max(size) > MAX_ASPECT * min(size):
        raise RowError(BadRow.TOO_NARROW, f"{size.width}×{size.height} px")
    return size, images.encode(images.fit(pixels, frame.unit, frame.max_pixels))


def _video(
    cell: Any, root: Path | None, frame: Frame
) -> tuple[tuple[Size, ...], tuple[Image, ...]]:
    sized = [_shown(pixels, frame) for pixels in video.frames(_place(cell, root), FRAMES)]
    return tuple(size for size, _ in sized), tuple(image for _, image in sized)


# Marks -------------------------------------------------------------------------------------------


def _marked(
    given: Given, before: tuple[Size, ...], shown: tuple[Image, ...]
) -> tuple[tuple[Step, ...], tuple[Op, ...]]:
    """The gold step, and all objects whose place is known; both empty without marks."""
    cells = given.marks
    if cells in (None, "", []):
        return (), ()
    if not isinstance(cells, list | tuple) or len(cells) > MAX_OPS:
        raise RowError(BadRow.BAD_MARKS, f"no list of at most {MAX_OPS}")
    marks = [_mark(cell, before, shown) for cell in cells]
    gold = tuple(op for op, asked in marks if asked)
    thought = _or(given.thought, THOUGHT)
    return ((Step(thought, gold),) if gold else ()), tuple(op for op, _ in marks)


def _mark(cell: Any, before: tuple[Size, ...], shown: tuple[Image, ...]) -> tuple[Op, bool]:
    """A mark in px of the picture that is shown, and whether the question is about it."""
    if not isinstance(cell, Mapping):
        raise RowError(BadRow.BAD_MARKS, f"{type(cell).__name__}, not an object")
    cell = {name: value for name, value in cell.items() if value is not None}  # parquet fills up
    k, label, corners = cell.get("picture", 1), cell.get("label"), cell.get("box", cell.get("line"))
    if type(k) is not int or not 1 <= k <= len(shown):
        raise RowError(BadRow.BAD_MARKS, f"picture {str(k)[:20]}: there are {len(shown)}")
    if (
        not isinstance(label, str)
        or not 0 < len(label.strip()) <= MAX_LABEL
        or label != clean(label)
    ):
        raise RowError(BadRow.BAD_MARKS, "no label")
    if (
        ("box" in cell) == ("line" in cell)
        or not isinstance(corners, list | tuple)
        or len(corners) != 4
    ):
        raise RowError(BadRow.BAD_MARKS, "neither a box nor a line of four numbers")
    if not all(type(value) in (int, float) and abs(value) <= images.MAX_SIDE for value in corners):
        raise RowError(BadRow.BAD_MARKS, "a coordinate that is none")
    was, size = before[k - 1], shown[k - 1].size
    across, down = size.width / was.width, size.height / was.height
    x1, y1, x2, y2 = corners
    ends = Point(round(x1 * across), round(y1 * down)), Point(round(x2 * across), round(y2 * down))
    asked = cell.get("asked", True) is not False
    if "line" in cell:
        line = Line(k, ends, label.strip())
        if not meets_picture(line.p, size):
            raise RowError(BadRow.BAD_MARKS, f"{label[:40]!r} is not on its picture")
        return line, asked
    box = Box(k, clip_box(bounds(ends), size), label.strip())
    if area(box.p) == 0:
        raise RowError(BadRow.BAD_MARKS, f"{label[:40]!r} has no area on its picture")
    return box, asked


def named(ingested: Ingested, split: str) -> Problem:
    """The problem with its id, which tells its import, its split and its row."""
    problem = ingested.problem
    return replace(problem, id=f"{problem.task}-{split}-{ingested.number:06d}")
