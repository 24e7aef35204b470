"""Where rows lie: one folder an asset and address, parquet parts and a manifest written last.

Guarantees: a folder with a manifest is complete, and its parts have the hashes that the manifest
lists; the same rows give the same bytes; a writer that dies leaves nothing that a reader takes for
an asset; of two writers of the same address the first to finish wins, and no reader is disturbed.
Does not: lock, forget (`prune` in the command line does), or promise that what was just written
survives a loss of power.

Local folders and object stores alike, through pyarrow's file systems. Parts are written beside the
assets, under ``tmp/``, and the folder is moved into place whole. An object store has no such move:
there parts go one by one and the manifest last, and two writers at once must write equal rows.

An asset may hold whole files beside its tables, such as a trained model's: they are parts as well.
"""

import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from pipeline.rows import SCHEMA_VERSION, Row

MANIFEST = "manifest.json"
GROUP_BYTES = 32 * 2**20  # of a row group in memory; well under the 100 MB that viewers take
GROUP_ROWS = 1024
PART_BYTES = 256 * 2**20  # of a part, before it is closed after a row group


class StoreError(Exception):
    """Something in the store is not as it must be; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder holds: rows and parts of each table, and facts about how it was made."""

    tables: Mapping[str, int]  # table → rows
    parts: Mapping[
        str, Mapping[str, Any]
    ]  # file name → {"sha256", "bytes", "rows"}; files have 0 rows
    facts: Mapping[str, Any]

    @property
    def data_version(self) -> str:
        """A hash of the contents: equal for equal rows, whatever made them."""
        digests = json.dumps({name: part["sha256"] for name, part in self.parts.items()})
        return hashlib.sha256(digests.encode()).hexdigest()[:16]

    @property
    def bytes(self) -> int:
        return sum(int(part["bytes"]) for part in self.parts.values())


@dataclass(frozen=True)
class Store:
    """A root folder of assets. ``Store.at("./data")``, or any URI that pyarrow knows."""

    files: fs.FileSystem
    root: str

    @staticmethod
    def at(place: str | Path | None = None) -> "Store":
        """The store at a path or URI; by default ``$DRAWLOOP_DATA``, else ./data."""
        where = str(place or os.environ.get("DRAWLOOP_DATA") or "data")
        if "://" not in where:
            where = str(Path(where).absolute())
            return Store(fs.LocalFileSystem(), where)
        try:
            files, root = fs.FileSystem.from_uri(where)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise StoreError(f"the store {where!r} cannot be opened: {error}") from None
        return Store(files, root)

    def path(self, asset: str, address: str, name: str = "") -> str:
        return "/".join(part for part in (self.root, asset, address, name) if part)

    @property
    def is_local(self) -> bool:
        return isinstance(self.files, fs.LocalFileSystem)

    @property
    def desk(self) -> Path:
        """A local folder for work on this store: its own root, or for an object store a cache in
        ``$DRAWLOOP_CACHE``, by default among the machine's temporary files."""
        if self.is_local:
            return Path(self.root)
        return Path(os.environ.get("DRAWLOOP_CACHE") or Path(tempfile.gettempdir()) / "drawloop")

    def local(self, asset: str, address: str) -> Path:
        """The folder of an asset as local files; those of an object store are copied, once.

        Raises:
            StoreError: if the asset is not there.
        """
        folder = self.desk / asset / address
        if self.is_local or folder.exists():
            return folder
        manifest = self.manifest(asset, address)
        if manifest is None:
            raise StoreError(f"{self.path(asset, address)} is not there: build {asset} first")
        coming = folder.with_name(f"{address}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
        for name in (*manifest.parts, MANIFEST):
            (coming / name).parent.mkdir(parents=True, exist_ok=True)
            with (
                self.files.open_input_stream(self.path(asset, address, name)) as source,
                (coming / name).open("wb") as copy,
            ):
                shutil.copyfileobj(source, copy, 2**20)
        try:
            coming.replace(folder)
        except OSError:  # another process was first
            shutil.rmtree(coming)
        return folder

    def manifest(self, asset: str, address: str) -> Manifest | None:
        """The manifest of a complete asset, or None."""
        try:
            with self.files.open_input_stream(self.path(asset, address, MANIFEST)) as stream:
                content = json.loads(stream.read())
            found = content["schema_version"]
            manifest = Manifest(content["tables"], content["parts"], content["facts"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            path = self.path(asset, address, MANIFEST)
            raise StoreError(
                f"{path} is no manifest ({error!r}): delete its folder and build it again"
            ) from None
        if found != SCHEMA_VERSION:
            raise StoreError(
                f"{self.path(asset, address)} has schema version {found}, this code reads "
                f"{SCHEMA_VERSION}: delete it and build it again with this code"
            )
        return manifest

    def rows(
        self, asset: str, address: str, table: str, columns: Sequence[str] | None = None
    ) -> Iterator[Row]:
        """The rows of a table, in order, a few at a time in memory.

        Raises:
            StoreError: if the asset is not there, or a part of it is missing or damaged.
        """
        for name in self._part_names(asset, address, table):
            path = self.path(asset, address, name)
            try:
                opened = self.files.open_input_file(path)
                with pq.ParquetFile(
                    opened,
                    pre_buffer=False,  # else a whole part is held, pictures and all
                    page_checksum_verification=True,
                ) as file:
                    for batch in file.iter_batches(batch_size=128, columns=columns):
                        yield from batch.to_pylist()
            except (OSError, ValueError, pa.ArrowException) as error:
                said = str(error).split(" Detail:")[0].rstrip(". ")
                raise StoreError(f"{path}: {said}; delete its folder and build it again") from None

    def _part_names(self, asset: str, address: str, table: str) -> list[str]:
        manifest = self.manifest(asset, address)
        if manifest is None:
            raise StoreError(f"{self.path(asset, address)} is not there: build {asset} first")
        return sorted(name for name in manifest.parts if name.rsplit("-", 1)[0] == table)

    def incomplete(self, asset: str, address: str) -> list[str]:
        """Parts that are missing or have another size than the manifest lists: a quick look."""
        manifest = self.manifest(asset, address)
        parts = manifest.parts if manifest else {}
        infos = self.files.get_file_info([self.path(asset, address, name) for name in parts])
        return [
            name
            for (name, part), info in zip(parts.items(), infos, strict=True)
            if info.size != part["bytes"]
        ]

    def damaged(self, asset: str, address: str) -> list[str]:
        """Parts that do not have the hash that the manifest lists."""
        manifest = self.manifest(asset, address)
        parts = manifest.parts if manifest else {}
        return [
            name
            for name, part in parts.items()
            if self._sha256(self.path(asset, address, name)) != part["sha256"]
        ]

    def _sha256(self, path: str) -> str | None:
        try:
            with self.files.open_input_stream(path) as stream:
                digest = hashlib.sha256()
                while block := stream.read(2**20):
                    digest.update(block)
        except FileNotFoundError:
            return None
        return digest.hexdigest()


class Writer:
    """Writes one asset: ``append`` rows to tables, and leave the ``with`` block to publish it.

    An exception inside the block leaves nothing behind but the asset as it was.
    """

    def __init__(
        self, store: Store, asset: str, address: str, schemas: Mapping[str, pa.Schema]
    ) -> None:
        self._store, self._asset, self._address = store, asset, address
        self._desk = f"{store.root}/tmp/{asset}-{address}-{os.getpid()}-{uuid.uuid4().hex[:8]}"  # noqa: S108  our own
        self._tables = {name: _Table(schema) for name, schema in schemas.items()}
        self._files: list[str] = []
        self.facts: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """What is written, by asset and address."""
        return f"{self._asset}-{self._address}"

    def __enter__(self) -> "Writer":
        self._store.files.create_dir(self._desk, recursive=True)
        return self

    def append(self, table: str, row: Row) -> None:
        if self._tables[table].take(row):
            self._flush(table)

    def add(self, name: str, file: Path) -> None:
        """A copy of a local file, to lie in the asset's folder as ``name``."""
        path = f"{self._desk}/{name}"
        self._store.files.create_dir(path.rsplit("/", 1)[0], recursive=True)
        with file.open("rb") as source, self._store.files.open_output_stream(path) as copy:
            shutil.copyfileobj(source, copy, 2**20)
        self._files.append(name)

    def count(self, table: str) -> int:
        return self._tables[table].rows

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                for name in self._tables:
                    self._flush(name)
                    self._close(name)
                self._publish()
        finally:
            for table in self._tables.values():
                table.abandon()
            if self._store.files.get_file_info(self._desk).type == fs.FileType.Directory:
                self._store.files.delete_dir(self._desk)

    def _flush(self, name: str) -> None:
        """Writes the waiting rows as a row group; a table without rows still gets a part."""
        table = self._tables[name]
        if not table.waiting and table.parts:
            return
        if table.writer is None:
            path = f"{self._desk}/{name}-{table.parts:05d}.parquet"
            table.writer = _parquet(self._store.files, path, table.schema)
        table.write()
        if table.written >= PART_BYTES:
            self._close(name)

    def _close(self, name: str) -> None:
        table = self._tables[name]
        if table.writer is not None:
            table.writer.close()
            table.finished.append((f"{name}-{table.parts:05d}.parquet", table.part_rows))
            table.parts += 1
        table.writer, table.part_rows, table.written = None, 0, 0

    def _publish(self) -> None:
        """Moves parts into place, then the manifest: from here on the asset exists."""
        store, parts = self._store, {}
        finished = [part for table in self._tables.values() for part in table.finished]
        for name, rows in (*finished, *((name, 0) for name in self._files)):
            path = f"{self._desk}/{name}"
            size = store.files.get_file_info(path).size
            parts[name] = {"sha256": store._sha256(path), "bytes": size, "rows": rows}
        content = {
            "schema_version": SCHEMA_VERSION,
            "tables": {name: table.rows for name, table in self._tables.items()},
            "parts": parts,
            "schemas": {name: table.schema.to_string() for name, table in self._tables.items()},
            "facts": self.facts,
        }
        with store.files.open_output_stream(f"{self._desk}/{MANIFEST}") as stream:
            stream.write(json.dumps(content, indent=1, ensure_ascii=False).encode())
        place = store.path(self._asset, self._address)
        if store.is_local:
            self._move_folder(place)
        else:  # objects appear whole, one by one, and the manifest after all others
            for name in (*parts, MANIFEST):
                store.files.create_dir(f"{place}/{name}".rsplit("/", 1)[0], recursive=True)
                store.files.move(f"{self._desk}/{name}", f"{place}/{name}")

    def _move_folder(self, place: str) -> None:
        """The whole folder at once; who was first wins, so that no two writers' parts ever mix."""
        files = self._store.files
        files.create_dir(f"{self._store.root}/{self._asset}", recursive=True)
        try:
            files.move(self._desk, place)
        except OSError:
            if self._store.manifest(self._asset, self._address) is not None:
                return
            if files.get_file_info(place).type is fs.FileType.NotFound:
                raise
            files.move(place, f"{self._desk}-without-manifest")  # nobody's asset: out of the way
            files.move(self._desk, place)
            files.delete_dir(f"{self._desk}-without-manifest")


class _Table:
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
        if self.writer is not None:
            self.writer.close()


def _weight(row: Row) -> int:
    """About how many bytes a row takes: its pictures, and a round sum for the rest."""
    return 2000 + sum(len(picture["bytes"]) for picture in row.get("images") or ())


def _parquet(files: fs.FileSystem, path: str, schema: pa.Schema) -> pq.ParquetWriter:
    """Content-defined chunks and a page index for hubs; pictures plain, as they are compressed."""
    leaves = [_leaf(path) for path in _paths(schema)]
    pictures = [leaf for leaf in leaves if leaf.endswith(".bytes")]
    return pq.ParquetWriter(
        path,
        schema,
        filesystem=files,
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
