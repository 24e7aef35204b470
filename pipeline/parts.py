"""Parquet in parts of a size, with the settings that hubs like; a disk that fills is told of."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from pipeline.row_groups import RowGroup
from pipeline.rows import Row


class Parts:
    """A table in files of about a size: ``<path>-00000.parquet`` and on, one also if no row comes.

    An ``append`` may write; ``finish`` writes what is left, and ``abandon`` leaves nothing open,
    whatever has happened.
    """

    def __init__(self, files: fs.FileSystem, path: str, schema: pa.Schema, most_bytes: int) -> None:
        self._files, self._path, self._most_bytes = files, path, most_bytes
        self._waiting = RowGroup(schema)
        self._writer: pq.ParquetWriter | None = None  # of the part that is open
        self._part_rows = self._written = 0  # into that part: rows, bytes
        self._finished: list[tuple[str, int]] = []
        self.rows = 0  # all that were appended

    @property
    def schema(self) -> pa.Schema:
        return self._waiting.schema

    @property
    def finished(self) -> Sequence[tuple[str, int]]:
        """(file name, rows) of each part that is closed."""
        return self._finished

    def append(self, row: Row) -> None:
        self.rows += 1
        if self._waiting.take(row):
            self._flush()

    def finish(self) -> None:
        if self._waiting or not self._finished:
            self._flush()
        self._close()

    def abandon(self) -> None:
        """Closes what is open; where the disk is full, the footer cannot be written either."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()

    def _flush(self) -> None:
        """Writes the waiting rows as a row group, and closes a part that is large enough."""
        if self._writer is None:
            self._writer = parquet(self._files, self._place(), self.schema)
        if self._waiting:
            self._part_rows += len(self._waiting)
            self._written += self._waiting.weight
            self._writer.write_table(self._waiting.emptied())
        if self._written >= self._most_bytes:
            self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._finished.append((self._place().rsplit("/", 1)[-1], self._part_rows))
        self._writer, self._part_rows, self._written = None, 0, 0

    def _place(self) -> str:
        return f"{self._path}-{len(self._finished):05d}.parquet"


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
