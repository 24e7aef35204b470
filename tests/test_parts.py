"""Rows on their way to parquet: their pictures lie in memory once, and the bytes are as before."""

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import fs

from pipeline.parts import parquet
from pipeline.row_groups import Pictures, RowGroup
from pipeline.rows import PICTURE, Row

BARE = pa.struct([("bytes", pa.binary())])  # as verl has them
CELLS: list[Any] = [
    [{"bytes": b"one", "path": None}, {"bytes": b"", "path": "a.png"}],
    [],
    None,
    [{"bytes": bytes(range(256)) * 40, "path": None}],
]


@pytest.mark.parametrize("picture", [PICTURE, BARE])
def test_a_column_of_pictures_is_what_arrow_makes_of_the_rows(picture: pa.DataType) -> None:
    names = {field.name for field in picture}
    cells = [row and [{name: one[name] for name in names} for one in row] for row in CELLS]
    pictures = Pictures()
    for row in cells:
        pictures.append(row)
    made, expected = pictures.array(pa.list_(picture)), pa.array(cells, pa.list_(picture))
    made.validate(full=True)
    assert made.equals(expected)
    assert made.type == expected.type
    assert Pictures().array(pa.list_(picture)).equals(pa.array([], pa.list_(picture)))


def test_the_bytes_of_a_part_are_those_of_arrows_own_table(tmp_path: Path) -> None:
    schema = pa.schema([("n", pa.int64()), ("images", pa.list_(PICTURE))])
    rows: list[Row] = [{"n": n, "images": CELLS[n % 4]} for n in range(2000)]
    group = RowGroup(schema)
    for name in ("ours", "arrows"):
        with parquet(fs.LocalFileSystem(), str(tmp_path / name), schema) as writer:
            if name == "arrows":
                writer.write_table(pa.Table.from_pylist(rows, schema))
                continue
            for row in rows:
                group.take(row)
            writer.write_table(group.emptied())
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "arrows").read_bytes()


def test_a_waiting_row_holds_no_picture() -> None:
    png = bytes(100_000)
    group, before = RowGroup(pa.schema([("images", pa.list_(PICTURE))])), sys.getrefcount(png)
    group.take({"images": [{"bytes": png, "path": None}]})
    assert sys.getrefcount(png) == before
    assert group.weight == 102_000
