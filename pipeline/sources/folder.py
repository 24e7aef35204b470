"""A folder of pictures with a file of annotations: JSON lines, or CSV with a header.

In CSV a cell that holds several things is a JSON list, or has them parted by ``|``; marks are JSON.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pipeline.images import PictureError, within
from pipeline.imports import Columns, FolderImport, SourceError
from pipeline.sources.ingest import Given
from pipeline.sources.tables import Bad, Found, Row, loaded, table


def rows(asked: FolderImport) -> Iterator[Given | Bad]:
    if asked.root is None:
        raise SourceError(f"{asked.found} is no folder: name the folder with the pictures")
    try:
        file = within(asked.root, asked.annotations)
    except PictureError as error:
        raise SourceError(f"annotations {error.detail}: it must lie in {asked.root}") from None
    columns, is_csv = asked.columns, file.suffix.lower() == ".csv"
    for found in table(file, columns.asked, columns.names):
        if isinstance(found, Found) and is_csv:
            found = Found(found.number, found.place, unfolded(found.row, columns))
        by_index = asked.answers == "index"
        yield found if isinstance(found, Bad) else given(found, columns, asked.kinds, by_index)


def unfolded(row: Row, columns: Columns) -> Row:
    """A row of CSV with lists where its cells hold several things."""
    options = columns.options if isinstance(columns.options, str) else ""
    lists = {*columns.pictures, options, columns.marks}
    return {name: _list(cell) if name in lists else cell for name, cell in row.items()}


def _list(cell: str) -> Any:
    if cell.lstrip().startswith("["):
        try:
            return loaded(cell)
        except ValueError:
            return cell
    parts = [part.strip() for part in cell.split("|")]
    return parts if len(parts) > 1 else cell


def given(found: Found, columns: Columns, kinds: Mapping[str, str], by_index: bool) -> Given | Bad:
    """A row by the columns that a version names."""
    row, kind = found.row, None
    if columns.id is not None:
        found = replace(found, place=f"{found.place} ({str(row.get(columns.id))[:80]})")
    if columns.kind is not None:
        value = row.get(columns.kind)
        kind = kinds.get(value) if isinstance(value, str) else None
        if kind is None:
            return found.bad("unknown_question_type", f"{str(value)[:80]!r}")
    if isinstance(columns.options, str):
        options = row.get(columns.options)
    else:
        options = [row[n] for n in columns.options if row.get(n) not in (None, "")]
    return Given(
        number=found.number,
        place=found.place,
        question=row.get(columns.question),
        answer=row.get(columns.answer),
        options=options,
        kind=kind,
        by_index=by_index,
        pictures=[row.get(name) for name in columns.pictures],
        video=row.get(columns.video) if columns.video else None,
        marks=row.get(columns.marks),
        thought=row.get(columns.thought),
        conclusion=row.get(columns.conclusion),
        group=row.get(columns.group) if columns.group else None,
        split=row.get(columns.split) if columns.split else None,
    )
