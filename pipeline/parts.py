"""Rows → parquet: row groups that viewers take, and the settings that hubs like."""

from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from pipeline.rows import Row

GROUP_BYTES = 32 * 2**20  # of a row group in memory; well under the 100 MB that viewers take
GROUP_ROWS = 1024


class Table:
    """Rows waiting for their row group, and the part that is open."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.writer: pq.ParquetWriter | None = None
        self.waiting: list[Row] = []
        self.waiting_bytes = self.written = 0
        self.rows = self.part_rows = self.parts = 0
        self.finished: list[tuple[str, int]] = []

    def take(self, row: Row) -> bool:
        """Keeps a row; True when a row group is full."""
        self.waiting.append(row)
        self.waiting_bytes += _weight(row)
        self.rows += 1
        return self.waiting_bytes >= GROUP_BYTES or len(self.waiting) >= GROUP_ROWS

    def write(self) -> None:
        assert self.writer is not None
        if self.waiting:
            columns = [
                pa.array([row.get(field.name) for row in self.waiting], type=field.type)
                for field in self.schema
            ]
            self.writer.write_table(pa.Table.from_arrays(columns, schema=self.schema))
            self.part_rows += len(self.waiting)
            self.written += self.waiting_bytes
        self.waiting, self.waiting_bytes = [], 0

    def abandon(self) -> None:
        """Closes what is open; where the disk is full, the footer cannot be written either."""
        if self.writer is not None:
            with suppress(OSError):
                self.writer.close()


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
    return 2000 + sum(len(picture["bytes"]) for picture in row.get("images") or ())


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
