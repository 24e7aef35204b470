"""Evaluation sets from elsewhere, read to be compared with: JSON lines or parquet, and pictures.

A set is a file, or a folder of them in order of their names. A row names its question, and its
pictures as paths beside the file, as bytes, as Hugging Face's ``{"bytes", "path"}``, or as a list of
any of these. All of it is hostile until proven otherwise: pictures come through `images.read`, and
a path that leads out of the file's folder is refused. A bad row is reported and the next one read;
a set that cannot be read at all is an `ExternalError`.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.images import PictureError, Pixels, read, within
from pipeline.sources.tables import READ_BYTES
from pipeline.types import Verdict

SUFFIXES = (".jsonl", ".parquet")
MAX_LINE = 64 * 2**20  # bytes, of JSON
MAX_PICTURES = 64  # of one row
AT_ONCE = 8  # rows of parquet in memory


class ExternalError(ValueError):
    """A set that cannot be read; the message names the file and the remedy."""


class BadRow(StrEnum):
    """Why a row is left out; a refused picture is ``picture_`` and its `BadPicture`."""

    NOT_JSON = "not_json"
    NO_QUESTION = "no_question"
    NO_PICTURE = "no_picture"
    NOT_A_PICTURE = "not_a_path_or_bytes"
    TOO_MANY_PICTURES = "too_many_pictures"
    UNREADABLE = "picture_unreadable"


@dataclass(frozen=True, slots=True)
class Columns:
    """What a row's columns are called. Without ``id`` a row is called after its file and place."""

    question: str = "question"
    pictures: tuple[str, ...] = ("image",)
    id: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.question, *self.pictures, *([self.id] if self.id else []))


@dataclass(frozen=True, slots=True)
class Asked:
    """A row that can be compared with: pictures (height, width, 3) RGB."""

    id: str
    pictures: tuple[Pixels, ...]
    question: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A row that cannot, and why."""

    id: str
    verdict: Verdict


class _Refused(Exception):
    """A row's fault, on its way to the row's `Unread`."""


def asked(path: Path, columns: Columns = Columns()) -> Iterator[Asked | Unread]:
    """The rows of a set, in order, one at a time in memory (parquet: a few).

    Raises:
        ExternalError: if the path is not there, holds no such file, is damaged, or lacks a column.
    """
    for file in _files(path):
        rows = _parquet(file, columns) if file.suffix == ".parquet" else _lines(file, columns)
        for n, row in enumerate(rows, 1):
            yield _asked(file, f"{file.name}:{n}", row, columns)


def digest(path: Path) -> str:
    """The sha256 of a set's files; of pictures that lie beside them it knows the paths alone.

    Raises:
        ExternalError: if the path is not there, or holds no such file.
    """
    found = [(file, file.stat()) for file in _files(path)]
    return _digest(tuple((file, stat.st_size, stat.st_mtime_ns) for file, stat in found))


@lru_cache(maxsize=64)  # addresses are asked for over and over
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    every = hashlib.sha256()
    for file, *_ in files:
        try:
            with file.open("rb") as stream:
                every.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise _unreadable(file, error) from None
    return every.hexdigest()


# Files -------------------------------------------------------------------------------------------


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        here = [file for file in path.iterdir() if file.suffix in SUFFIXES]
        files = sorted(file for file in here if file.is_file())  # no folder called so, no pipe
        if not files:
            raise ExternalError(f"{path} holds no {' or '.join(SUFFIXES)} file: name the file")
        return files
    if not path.is_file():
        raise ExternalError(f"{path} is not there: name a file or a folder of them")
    if path.suffix not in SUFFIXES:
        raise ExternalError(
            f"{path} is neither {' nor '.join(SUFFIXES)}: convert it to one of them"
        )
    return [path]


def _lines(file: Path, columns: Columns) -> Iterator[Any]:
    """Each line as JSON, or None for what is none. Empty lines are no rows."""
    first = True
    try:
        with file.open("rb") as stream:
            while line := stream.readline(MAX_LINE):
                if len(line) == MAX_LINE and not line.endswith(b"\n"):
                    while (rest := stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                        pass
                    yield None
                elif line.strip():
                    row = _json(line)
                    if first and isinstance(row, dict):
                        _check(file, columns, list(row))
                        first = False
                    yield row
    except OSError as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: OSError) -> ExternalError:
    return ExternalError(f"{file} cannot be read: {error.strerror}: make it readable")


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _parquet(file: Path, columns: Columns) -> Iterator[Any]:
    try:
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=READ_BYTES) as opened:
            _check(file, columns, opened.schema_arrow.names)
            names = list(dict.fromkeys(columns.names))
            for batch in opened.iter_batches(batch_size=AT_ONCE, columns=names):
                yield from batch.to_pylist()
    except (OSError, UnicodeDecodeError, OverflowError, pa.ArrowException) as error:
        raise ExternalError(f"{file} is damaged or no parquet ({error}): fetch it again") from None


def _check(file: Path, columns: Columns, there: Sequence[str]) -> None:
    """Columns that the first row lacks are named wrongly; later rows may lack some."""
    lacking = [name for name in columns.names if name not in there]
    if lacking:
        raise ExternalError(
            f"{file} has no column {', '.join(map(repr, lacking))}; it has "
            f"{', '.join(map(repr, there[:20]))}: say which of them holds what"
        )


# Rows --------------------------------------------------------------------------------------------


def _asked(file: Path, place: str, row: Any, columns: Columns) -> Asked | Unread:
    if not isinstance(row, dict):
        return Unread(place, Verdict(False, BadRow.NOT_JSON, "no object of JSON"))
    given = row.get(columns.id) if columns.id else None
    id_ = place if given is None else str(given).encode(errors="replace").decode()
    question = row.get(columns.question)
    if not isinstance(question, str) or not question.strip():
        return Unread(id_, Verdict(False, BadRow.NO_QUESTION, columns.question))
    found = list(chain.from_iterable(_several(row.get(name)) for name in columns.pictures))
    if not found:
        return Unread(id_, Verdict(False, BadRow.NO_PICTURE, ", ".join(columns.pictures)))
    if len(found) > MAX_PICTURES:
        return Unread(id_, Verdict(False, BadRow.TOO_MANY_PICTURES, str(len(found))))
    try:
        return Asked(id_, tuple(_picture(file.parent, one) for one in found), question)
    except _Refused as refused:
        return Unread(id_, Verdict(False, *refused.args))


def _several(cell: Any) -> list[Any]:
    cells = cell if isinstance(cell, list) else [cell]
    return [one for one in cells if one is not None and one != ""]


def _picture(folder: Path, cell: Any) -> Pixels:
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if not isinstance(cell, str | bytes):
        raise _Refused(BadRow.NOT_A_PICTURE, type(cell).__name__)
    try:
        return read(within(folder, cell) if isinstance(cell, str) else cell)
    except PictureError as error:
        raise _Refused(f"picture_{error.reason}", error.detail) from None
    except OSError as error:
        raise _Refused(BadRow.UNREADABLE, str(error.strerror)) from None
