"""Rows → parquet: row groups that viewers take, and the settings that hubs like.

Guarantees: memory holds a row group once: its pictures in one run of bytes, which is written as it is.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from pipeline.rows import Row

GROUP_BYTES = 32 * 2**20  # of a row group in memory; well under the 100 MB that viewers take
GROUP_ROWS = 1024
IMAGES = "images"  # the column of a table that holds pictures, if any does


class Table:
    """Rows waiting for their row group, and the part that is open."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.writer: pq.ParquetWriter | None = None
        self.waiting: list[Row] = []
        self.pictures = Pictures()
        self.waiting_bytes = self.written = 0
        self.rows = self.part_rows = self.parts = 0
        self.finished: list[tuple[str, int]] = []

    def take(self, row: Row) -> bool:
        """Keeps a row; True when a row group is full."""
        self.pictures.append(row.get(IMAGES))
        self.waiting.append({name: cell for name, cell in row.items() if name != IMAGES})
        self.waiting_bytes += _weight(row)
        self.rows += 1
        return self.waiting_bytes >= GROUP_BYTES or len(self.waiting) >= GROUP_ROWS

    def write(self) -> None:
        assert self.writer is not None
        if self.waiting:
            columns = [self._column(field) for field in self.schema]
            self.writer.write_table(pa.Table.from_arrays(columns, schema=self.schema))
            self.part_rows += len(self.waiting)
            self.written += self.waiting_bytes
        self.waiting, self.waiting_bytes, self.pictures = [], 0, Pictures()

    def _column(self, field: pa.Field) -> pa.Array:
        if field.name == IMAGES:
            return self.pictures.array(field.type)
        return pa.array([row.get(field.name) for row in self.waiting], type=field.type)

    def abandon(self) -> None:
        """Closes what is open; where the disk is full, the footer cannot be written either."""
        if self.writer is not None:
            with suppress(OSError):
                self.writer.close()


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


class _Sink:
    """A stream that takes whatever it is given, and keeps its first error until it is asked.

    Where a stream fails within a column that is cut by its contents, Arrow aborts the process.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._error: OSError | None = None
        self.closed = False

    def write(self, data: bytes) -> int:
        if self._error is None:
            try:
                self._stream.write(data)
            except OSError as error:
                self._error = error
        return len(data)

    def flush(self) -> None:
        """Nothing is held here."""

    def close(self) -> None:
        self.closed = True
        self._stream.close()

    def ask(self) -> None:
        if self._error is not None:
            raise self._error


class _Writer(pq.ParquetWriter):  # type: ignore[misc]
    """A writer of parquet that raises where a disk is full, instead of ending the process."""

    def __init__(self, stream: Any, schema: pa.Schema, **settings: Any) -> None:
        self._sink = _Sink(stream)
        super().__init__(self._sink, schema, **settings)

    def write_table(self, table: pa.Table, row_group_size: int | None = None) -> None:
        super().write_table(table, row_group_size)
        self._sink.ask()

    def close(self) -> None:
        super().close()
        if not self._sink.closed:
            self._sink.close()
            self._sink.ask()


def _weight(row: Row) -> int:
    """About how many bytes a row takes: its pictures, and a round sum for the rest."""
    return 2000 + sum(len(picture["bytes"]) for picture in row.get(IMAGES) or ())


class Parts:
    """A table in files of about a size: ``<path>-00000.parquet`` and on, one also if no row comes.

    An ``append`` may write; ``finish`` writes what is left, and ``abandon`` leaves nothing open,
    whatever has happened.
    """

    def __init__(self, files: fs.FileSystem, path: str, schema: pa.Schema, most_bytes: int) -> None:
        self._files, self._path, self._most_bytes = files, path, most_bytes
        self._table = Table(schema)

    @property
    def schema(self) -> pa.Schema:
        return self._table.schema

    @property
    def rows(self) -> int:
        """All that were appended."""
        return self._table.rows

    @property
    def finished(self) -> Sequence[tuple[str, int]]:
        """(file name, rows) of each part that is closed."""
        return self._table.finished

    def append(self, row: Row) -> None:
        if self._table.take(row):
            self._flush()

    def finish(self) -> None:
        if self._table.waiting or not self._table.parts:
            self._flush()
        self._close()

    def abandon(self) -> None:
        self._table.abandon()

    def _flush(self) -> None:
        """Writes the waiting rows as a row group, and closes a part that is large enough."""
        table = self._table
        if table.writer is None:
            table.writer = parquet(self._files, self._place(), table.schema)
        table.write()
        if table.written >= self._most_bytes:
            self._close()

    def _close(self) -> None:
        table = self._table
        if table.writer is not None:
            table.writer.close()
            table.finished.append((self._place().rsplit("/", 1)[-1], table.part_rows))
            table.parts += 1
        table.writer, table.part_rows, table.written = None, 0, 0

    def _place(self) -> str:
        return f"{self._path}-{self._table.parts:05d}.parquet"


def parquet(files: fs.FileSystem, path: str, schema: pa.Schema) -> pq.ParquetWriter:
    """Content-defined chunks and a page index for hubs; pictures plain, as they are compressed.

    Raises:
        OSError: from any of its methods, if the place is full or cannot be written.
    """
    leaves = [_leaf(path) for path in _paths(schema)]
    pictures = [leaf for leaf in leaves if leaf.endswith(".bytes")]
    return _Writer(
        files.open_output_stream(path, compression=None),
        schema,
        compression={leaf: "none" if leaf in pictures else "zstd" for leaf in leaves},
        use_dictionary=[leaf for leaf in leaves if leaf not in pictures],
        write_page_index=True,
        write_page_checksum=True,
        use_content_defined_chunking=True,
    )


def _leaf(path: tuple[str, ...]) -> str:
    return ".".join(path)


def _paths(schema: pa.Schema) -> list[tuple[str, ...]]:
    """The names by which parquet knows the leaf columns of nested types."""

    def below(kind: pa.DataType, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        if pa.types.is_struct(kind):
            return [leaf for field in kind for leaf in below(field.type, (*path, field.name))]
        if pa.types.is_list(kind):
            return below(kind.value_type, (*path, "list", "element"))
        return [path]

    return [leaf for field in schema for leaf in below(field.type, (field.name,))]
