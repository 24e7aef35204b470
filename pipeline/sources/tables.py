"""Files of rows, read safely: JSON lines, a JSON list, CSV, parquet.

Guarantees: rows come in order, a few at a time in memory; what is no row is a `Bad` with its reason
and the next one is read; a column that a version names and a file lacks is refused with those that
it has. Nothing is evaluated: a cell of CSV that a spreadsheet would run is a text.
Does not: believe a cell, not even its type: `ingest` looks at each.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.grammar import clean
from pipeline.imports import SourceError
from pipeline.types import Verdict

MAX_LINE = 16 * 2**20  # bytes of a line, or characters of an element of a list
MAX_FIELD = 2**20  # characters of a cell of CSV
AT_ONCE = 8  # rows of parquet in memory
READ_BYTES = 2**20  # of a column of parquet, at a time: else a row group of pictures is held whole
STEP = 2**20  # characters of a JSON list that are read at a time, at first

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bad:
    """What stands where a row should be, and why it is none."""

    number: int  # of the row in its source, from 1
    place: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Found:
    """A row as it lies in its file."""

    number: int
    place: str
    row: Row

    def bad(self, reason: str, detail: str) -> Bad:
        """What stands in its place, if it is none after all."""
        return Bad(self.number, self.place, Verdict(False, reason, clean(detail)))


def table(
    file: Path, needed: Iterable[str] = (), wanted: Iterable[str] = ()
) -> Iterator[Found | Bad]:
    """The rows of a file, by its ending.

    Args:
        needed: columns that must be there; of JSON the first row tells.
        wanted: columns to read, where a file can be read by columns; none: all.

    Raises:
        SourceError: if the file is not there, damaged, of another kind, or lacks a column.
    """
    read = READERS.get(file.suffix.lower())
    if read is None:
        raise SourceError(f"{file} is no {', '.join(READERS)}: convert it to one of them")
    if not file.is_file():
        raise SourceError(f"{file} is not there: put it there, or mend the import")
    known = False
    try:
        for number, row in zip(count(1), read(file, tuple(needed), tuple(wanted)), strict=False):
            place = f"{file.name}:{number}"
            if isinstance(row, Verdict):
                yield Bad(number, place, row)
                continue
            if not known:
                check(file, needed, row)
                known = True
            yield Found(number, place, row)
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror or error}") from None


def tables(
    files: Iterable[Path], needed: Iterable[str] = (), wanted: Iterable[str] = ()
) -> Iterator[Found | Bad]:
    """The rows of several files, one file after the other, numbered through.

    Raises:
        SourceError: as `table`.
    """
    before = number = 0
    for file in files:
        for one in table(file, needed, wanted):
            number = before + one.number
            yield replace(one, number=number)
        before = number


def check(file: Path | str, needed: Iterable[str], there: Iterable[str]) -> None:
    """Refuses columns that are not there.

    Raises:
        SourceError: naming them, and those that are.
    """
    names = list(there)
    if lacking := [name for name in needed if name not in names]:
        has = ", ".join(repr(str(name)[:40]) for name in names[:20]) or "none"
        raise SourceError(
            f"{file} has no column {', '.join(map(repr, lacking))}; it has {has}: say under "
            "columns which of them holds what"
        )


# JSON --------------------------------------------------------------------------------------------


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


JSON = json.JSONDecoder(parse_constant=_no_constant)


def loaded(text: str | bytes) -> Any:
    """JSON without NaN and infinities.

    Raises:
        ValueError: for what is none, brackets too deep among it.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("brackets too deep") from None


def _object(value: Any) -> Row | Verdict:
    if isinstance(value, dict):
        return value
    return Verdict(False, "not_an_object", f"a JSON {type(value).__name__}")


def _json_lines(file: Path, needed: tuple[str, ...], wanted: tuple[str, ...]) -> Iterator[Any]:
    with file.open("rb") as stream:
        start = stream.read(3)
        if start != b"\xef\xbb\xbf":  # the mark that some editors put before UTF-8
            stream.seek(0)
        while line := stream.readline(MAX_LINE):
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                while (rest := stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                    pass
                yield Verdict(False, "line_too_long", f"more than {MAX_LINE} bytes")
            elif line.strip():
                try:
                    yield _object(loaded(line))
                except ValueError as error:
                    yield Verdict(False, "not_json", str(error)[:80])


def _json_list(file: Path, needed: tuple[str, ...], wanted: tuple[str, ...]) -> Iterator[Any]:
    """The elements of a JSON list, one after another: where one is broken the rest is one bad row."""
    with file.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
        window = _Window(stream)
        if window.skip() != "[":
            raise SourceError(f"{file} is no JSON list: convert it to JSON lines")
        window.at += 1
        while (found := window.skip(",")) not in ("]", ""):
            try:
                value = window.element()
            except ValueError as error:
                yield Verdict(False, "not_json", f"{str(error)[:80]}; the rest is not read")
                return
            yield _object(value)
        if not found:
            yield Verdict(False, "not_json", "the list is cut short")


class _Window:
    """The part of a text that is looked at: it grows until it holds a whole element."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._text, self.at = stream, "", 0

    def _more(self, count: int = STEP) -> bool:
        more = self._stream.read(count)
        self._text, self.at = self._text[self.at :] + more, 0
        return bool(more)

    def skip(self, besides: str = "") -> str:
        """The next character that is neither space nor one of those; "" at the end."""
        while True:
            while self.at < len(self._text) and self._text[self.at] in " \t\r\n" + besides:
                self.at += 1
            if self.at < len(self._text):
                return self._text[self.at]
            if not self._more():
                return ""

    def element(self) -> Any:
        """The next element, which is read twice as far each time that it is not whole yet.

        Raises:
            ValueError: if it is none, or larger than `MAX_LINE`.
        """
        while True:
            try:
                value, end = JSON.raw_decode(self._text, self.at)
                if end < len(self._text):
                    self.at = end
                    return value
                if not self._more():  # else what looks whole may go on, as a number does
                    self.at = len(self._text)
                    return value
                continue
            except RecursionError:
                raise ValueError("brackets too deep") from None
            except ValueError as error:
                cause = error
            if len(self._text) - self.at > MAX_LINE or not self._more(max(STEP, len(self._text))):
                raise cause


# CSV and parquet ---------------------------------------------------------------------------------


def _csv(file: Path, needed: tuple[str, ...], wanted: tuple[str, ...]) -> Iterator[Any]:
    """Rows of text. Bytes that are no UTF-8 stay, as lone surrogates, and are refused by `ingest`."""
    before = csv.field_size_limit(MAX_FIELD)
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            lines = csv.reader(stream, strict=True)
            try:
                head = next(lines, [])
            except csv.Error as error:
                raise SourceError(f"{file} has no header of CSV: {error}") from None
            check(file, needed, head)
            while True:
                try:
                    cells = next(lines)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield Verdict(False, "not_csv", str(error))
                    continue
                if len(cells) == len(head):
                    yield dict(zip(head, cells, strict=True))
                elif cells:
                    yield Verdict(
                        False, "not_csv", f"{len(cells)} cells, {len(head)} in the header"
                    )
    finally:
        csv.field_size_limit(before)


def _parquet(file: Path, needed: tuple[str, ...], wanted: tuple[str, ...]) -> Iterator[Any]:
    try:
        # Unless told not to, pyarrow fetches the whole file before its first row.
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=READ_BYTES) as opened:
            names = opened.schema_arrow.names
            check(file, needed, names)
            columns = [name for name in wanted if name in names] if wanted else None
            for batch in opened.iter_batches(batch_size=AT_ONCE, columns=columns):
                yield from batch.to_pylist()
    except SourceError:
        raise
    except (OSError, ValueError, OverflowError, pa.ArrowException) as error:
        said = str(error).splitlines()[0][:200]
        raise SourceError(f"{file} is damaged or no parquet ({said}): fetch it again") from None


READERS: Mapping[str, Any] = {
    ".jsonl": _json_lines,
    ".json": _json_list,
    ".csv": _csv,
    ".parquet": _parquet,
}
