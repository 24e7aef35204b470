"""A set → a folder that a training framework loads: data, what the framework needs, a card, a report.

Guarantees: every row is written or omitted with a reason, and counted; in every row that is written
there are as many places as pictures; the same set and target give the same bytes; memory holds a row
group; the folder appears whole or not at all.
Does not: believe an estimate of a length to be exact: the report says which of the two was used.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline import canvas, images
from pipeline.exporters import EXPORTERS, Cell, Format
from pipeline.exporters.card import Story, card
from pipeline.exporters.files import (
    REPORT,
    ExportError,
    Json,
    Parquet,
    Rows,
    arriving,
    laid,
    listed,
)
from pipeline.exporters.told import Omitted, Target, Told, tell
from pipeline.manifest import CARD
from pipeline.rows import Row, hugging_face
from pipeline.types import View


@dataclass(frozen=True, slots=True)
class Given:
    """A set to export: its rows, in order, and the schema that they have in the store."""

    set: str  # of `exporters.SETS`
    rows: Iterable[Row]
    schema: pa.Schema


@dataclass(slots=True)
class Report:
    """What came of an export. ``placeholders`` and ``pictures`` were counted row by row, and agree."""

    format: str
    framework: str
    set: str
    family: str  # that the texts speak to; "": each row's own
    counted_by: str  # "processor", or "estimate"
    max_tokens: int  # 0: no limit
    read: int = 0
    written: int = 0
    omitted: Counter[str] = field(default_factory=Counter)
    pictures: int = 0
    placeholders: int = 0
    tokens: int = 0  # of all rows
    longest: int = 0  # tokens of the longest row
    largest: int = 0  # px of the largest picture
    resized: int = 0  # pictures that the target's processor lays on its own grid
    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def wrote(self, told: Told, places: int, pictures: int) -> None:
        """Counts a row that is written."""
        assert places == pictures, f"{told.id}: {places} places for {pictures} pictures"
        self.written += 1
        self.pictures += pictures
        self.placeholders += places
        self.tokens += told.tokens
        self.longest = max(self.longest, told.tokens)
        self.resized += told.resized
        for image in told.problem.images:
            self.largest = max(self.largest, image.size.width * image.size.height)

    def told(self) -> dict[str, Any]:
        """For JSON: reasons in order."""
        return {**asdict(self), "omitted": dict(sorted(self.omitted.items()))}


def export(
    name: str,
    given: Given,
    target: Target,
    folder: Path,
    story: Story,
    *,
    overwrite: bool = False,
) -> Report:
    """Writes a set in a format of `EXPORTERS` into a folder.

    Raises:
        ExportError: if the format does not take the set, or the folder cannot be written.
        FamilyMismatch: if the target speaks pixels of another grid than the pictures lie on.
        GridMismatch: if its processor is of another family.
    """
    chosen = format_of(name, given.set)
    counted = "estimate" if target.processor is None else "processor"
    report = Report(name, chosen.framework, given.set, target.family, counted, target.max_tokens)
    with arriving(folder, overwrite=overwrite) as place:
        with _sink(chosen, given, place) as sink:
            made = (
                copied(given.rows, report)
                if chosen.row is None
                else _rows(chosen, given.rows, target, place, report)
            )
            for row in made:
                sink.append(row)
        for file, text in (chosen.beside or {}).items():
            (place / file).write_text(text, encoding="utf-8")
        said = card(chosen, given, report.told(), story, data_files(chosen))
        (place / CARD).write_text(said, encoding="utf-8")
        report.files = listed(place)
        (place / REPORT).write_text(json.dumps(report.told(), indent=1) + "\n", encoding="utf-8")
    return report


def format_of(name: str, set_: str) -> Format:
    """A format that takes a set.

    Raises:
        ExportError: if there is none, naming those that there are.
    """
    if name not in EXPORTERS:
        raise ExportError(f"no format {name!r}; there are {', '.join(EXPORTERS)}")
    chosen = EXPORTERS[name]()
    if set_ not in chosen.takes:
        raise ExportError(f"{name} takes {', '.join(chosen.takes)}, and not {set_}")
    return chosen


def data_files(chosen: Format) -> str:
    """The data files of a format, as a pattern from its folder."""
    return {"parquet": "data/*.parquet", "jsonl": "train.jsonl", "json": "train.json"}[
        chosen.container
    ]


def _sink(chosen: Format, given: Given, place: Path) -> Rows:
    if chosen.container != "parquet":
        return Json(place, as_list=chosen.container == "json")
    schema = given.schema if chosen.schema is None else chosen.schema
    return Parquet(place, hugging_face(schema) if chosen.decoded else schema)


def copied(rows: Iterable[Row], report: Report) -> Iterator[Row]:
    """Native rows as they are, counted: each picture is its own place."""
    for row in rows:
        report.read += 1
        report.written += 1
        report.pictures += len(row["images"])
        report.placeholders += len(row["images"])
        for size in row["sizes"]:
            report.largest = max(report.largest, size["width"] * size["height"])
        yield row


def _rows(
    chosen: Format, given: Iterable[Row], target: Target, place: Path, report: Report
) -> Iterator[Mapping[str, Any]]:
    """The format's rows; pictures are drawn for rows that fit."""
    assert chosen.row is not None
    gallery = Gallery()
    for index, row in enumerate(given):
        report.read += 1
        told = tell(row, target, chosen.tags, chosen.framed, index)
        if isinstance(told, Omitted):
            report.omitted[told.why] += 1
            continue
        made = chosen.row(told, cells(chosen, gallery.pictures(told), place))
        report.wrote(told, chosen.placeholders(made), len(told.views))
        yield made


def cells(chosen: Format, pngs: Sequence[bytes], place: Path) -> list[Cell]:
    """Pictures as a format holds them: their bytes, or where they lie."""
    if chosen.pictures == "embedded":
        return [{"bytes": png, "path": None} for png in pngs]
    return [laid(place, png) for png in pngs]


class Gallery:
    """The pictures of one problem after another: samples of a problem often drew the same."""

    def __init__(self) -> None:
        self._problem = ""
        self._bases: dict[int, images.Pixels] = {}
        self._drawn: dict[View, bytes] = {}

    def pictures(self, told: Told) -> list[bytes]:
        """The PNG of each view, drawn now unless the sample before drew it."""
        if told.problem.id != self._problem:
            self._problem = told.problem.id
            self._bases, self._drawn = {}, {}
        return [self._picture(told, view) for view in told.views]

    def _picture(self, told: Told, view: View) -> bytes:
        image = told.problem.images[view.base - 1]
        if not view.marks:
            return image.png
        if view not in self._drawn:
            if view.base not in self._bases:
                self._bases[view.base] = images.decode(image)
            drawn = canvas.draw(self._bases[view.base].copy(), view.marks)
            self._drawn[view] = images.png(drawn)
        return self._drawn[view]
