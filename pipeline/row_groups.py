"""Rows that wait for their row group, and the Arrow table that becomes of them.

Guarantees: memory holds a row group once: its pictures in one run of bytes, which is written as it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.rows import Row

GROUP_BYTES = 32 * 2**20  # of a row group in memory; well under the 100 MB that viewers take
GROUP_ROWS = 1024
IMAGES = "images"  # the column of a table that holds pictures, if any does


class RowGroup:
    """Rows waiting to be written together."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._empty()

    def _empty(self) -> None:
        self._rows: list[Row] = []
        self._pictures, self.weight = Pictures(), 0

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, row: Row) -> bool:
        """Keeps a row; True when the group is full."""
        self._pictures.append(row.get(IMAGES))
        self._rows.append({name: cell for name, cell in row.items() if name != IMAGES})
        self.weight += _weight(row)
        return self.weight >= GROUP_BYTES or len(self) >= GROUP_ROWS

    def emptied(self) -> pa.Table:
        """The rows, which wait no longer."""
        columns = [self._column(field) for field in self.schema]
        self._empty()
        return pa.Table.from_arrays(columns, schema=self.schema)

    def _column(self, field: pa.Field) -> pa.Array:
        if field.name == IMAGES:
            return self._pictures.array(field.type)
        return pa.array([row.get(field.name) for row in self._rows], type=field.type)


class Pictures:
    """The pictures of waiting rows: their bytes end to end, as Arrow lays a column of them.

    The rows' own bytes may go at once: kept until their row group is full, and copied to Arrow then,
    pictures would lie in memory two or three times.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends, self._paths = [0], list[str | None]()  # of each picture
        self._rows, self._lacking = [0], list[bool]()  # of each row: pictures up to it; has it none

    def append(self, cells: Sequence[Mapping[str, Any]] | None) -> None:
        """The pictures of one more row."""
        for cell in cells or ():
            self._bytes += cell["bytes"]
            self._ends.append(len(self._bytes))
            self._paths.append(cell.get("path"))
        self._rows.append(len(self._paths))
        self._lacking.append(cells is None)

    def array(self, kind: pa.ListType) -> pa.ListArray:
        """As a column, a list a row, of the type of the column; it holds the bytes themselves."""
        ends = pa.py_buffer(np.array(self._ends, np.int32))
        count, data = len(self._paths), pa.py_buffer(self._bytes)
        leaves = {
            "bytes": pa.Array.from_buffers(pa.binary(), count, [None, ends, data]),
            "path": pa.array(self._paths, pa.string()),
        }
        fields = list(kind.value_type)
        cells = pa.StructArray.from_arrays([leaves[f.name] for f in fields], fields=fields)
        rows, lacking = pa.array(self._rows, pa.int32()), pa.array(self._lacking, pa.bool_())
        return pa.ListArray.from_arrays(rows, cells, type=kind, mask=lacking)


def _weight(row: Row) -> int:
    """About how many bytes a row takes: its pictures, and a round sum for the rest."""
    return 2000 + sum(len(picture["bytes"]) for picture in row.get(IMAGES) or ())
