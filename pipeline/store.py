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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from pipeline.manifest import MANIFEST, Manifest, table_of
from pipeline.parts import Parts
from pipeline.row_groups import IMAGES
from pipeline.rows import SCHEMA_VERSION, Row

PART_BYTES = 256 * 2**20  # of a part, before it is closed after a row group
ROWS_AT_ONCE, PICTURED_AT_ONCE = 128, 16  # read into memory; of rows with pictures fewer
READ_BYTES = 2**20  # of a column, at a time: else a row group of pictures is held whole


AGAIN = "delete its folder and build it again"
ROOM = "make room there, make it writable, or name another place in DRAWLOOP_DATA"


class StoreError(Exception):
    """Something in the store is not as it must be; the message names the file and the remedy."""


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
        try:
            for name in (*manifest.parts, MANIFEST):
                told = manifest.parts.get(name)
                self._copy(self.path(asset, address, name), coming / name, told)
            coming.replace(folder)
        except OSError as error:
            if not folder.exists():  # no other process was first
                raise StoreError(f"{folder} cannot be copied to: {error}; {ROOM}") from None
        finally:
            shutil.rmtree(coming, ignore_errors=True)
        return folder

    def _copy(self, path: str, copy: Path, told: Mapping[str, Any] | None) -> None:
        """A file of the store to a local one, of which the manifest told this."""
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            source = self.files.open_input_stream(path)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error}; {AGAIN}") from None
        digest = hashlib.sha256()
        with source, copy.open("wb") as file:
            while block := source.read(2**20):
                digest.update(block)
                file.write(block)
        if told and digest.hexdigest() != told["sha256"]:
            raise StoreError(f"{path} has another hash than its manifest says; {AGAIN}")

    def manifest(self, asset: str, address: str) -> Manifest | None:
        """The manifest of a complete asset, or None.

        Raises:
            StoreError: if what lies there is no manifest, or one of another schema version.
        """
        path = self.path(asset, address, MANIFEST)
        try:
            with self.files.open_input_stream(path) as stream:
                content = json.loads(stream.read())
            found = content["schema_version"]
            manifest = Manifest.of(content) if found == SCHEMA_VERSION else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error}; make it readable") from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StoreError(f"{path} is no manifest ({error!r}): {AGAIN}") from None
        if manifest is None:
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
        manifest = self.manifest(asset, address)
        if manifest is None:
            raise StoreError(f"{self.path(asset, address)} is not there: build {asset} first")
        if table not in manifest.tables:
            raise StoreError(f"{self.path(asset, address)} has no table {table!r}; {AGAIN}")
        pictured = IMAGES in (manifest.columns[table] if columns is None else columns)
        for name in sorted(name for name in manifest.parts if table_of(name) == table):
            path = self.path(asset, address, name)
            try:
                opened = self.files.open_input_file(path)
                with pq.ParquetFile(
                    opened,
                    pre_buffer=False,  # else a whole part is held, pictures and all
                    buffer_size=READ_BYTES,
                    page_checksum_verification=True,
                ) as file:
                    _compare(file, manifest.columns[table], manifest.parts[name]["rows"])
                    many = PICTURED_AT_ONCE if pictured else ROWS_AT_ONCE
                    for batch in file.iter_batches(batch_size=many, columns=columns):
                        yield from batch.to_pylist()
            except (OSError, ValueError, pa.ArrowException) as error:
                said = str(error).split(" Detail:")[0].rstrip(". ")
                raise StoreError(f"{path}: {said}; {AGAIN}") from None

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
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error}; make it readable") from None
        return digest.hexdigest()


def _compare(file: pq.ParquetFile, columns: Sequence[str], rows: int) -> None:
    """Raises a ValueError unless a part is what the manifest says."""
    if file.schema_arrow.names != list(columns):
        raise ValueError(f"it has the columns {file.schema_arrow.names}, not {list(columns)}")
    if file.metadata.num_rows != rows:
        raise ValueError(f"it has {file.metadata.num_rows} rows, not {rows}")


class Writer:
    """Writes one asset: ``append`` rows to tables, and leave the ``with`` block to publish it.

    An exception inside the block leaves nothing behind but the asset as it was.

    Raises:
        StoreError: from any of its methods, if the place is full or cannot be written.
    """

    def __init__(
        self, store: Store, asset: str, address: str, schemas: Mapping[str, pa.Schema]
    ) -> None:
        self._store, self._asset, self._address = store, asset, address
        self._desk = f"{store.root}/tmp/{asset}-{address}-{os.getpid()}-{uuid.uuid4().hex[:8]}"  # noqa: S108  our own
        self._tables = {
            name: Parts(store.files, f"{self._desk}/{name}", schema, PART_BYTES)
            for name, schema in schemas.items()
        }
        self._files: list[str] = []
        self.facts: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """What is written, by asset and address."""
        return f"{self._asset}-{self._address}"

    def __enter__(self) -> "Writer":
        with self._writing():
            self._store.files.create_dir(self._desk, recursive=True)
        return self

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns what the file system says into what a user can do."""
        try:
            yield
        except OSError as error:
            place = self._store.path(self._asset, self._address)
            raise StoreError(f"{place} cannot be written: {error}; {ROOM}") from error

    def append(self, table: str, row: Row) -> None:
        with self._writing():
            self._tables[table].append(row)

    def add(self, name: str, file: Path) -> None:
        """A copy of a local file, to lie in the asset's folder as ``name``."""
        path = f"{self._desk}/{name}"
        with file.open("rb") as source, self._writing():
            self._store.files.create_dir(path.rsplit("/", 1)[0], recursive=True)
            with self._store.files.open_output_stream(path) as copy:
                shutil.copyfileobj(source, copy, 2**20)
        self._files.append(name)

    def count(self, table: str) -> int:
        return self._tables[table].rows

    def schema(self, table: str) -> pa.Schema:
        return self._tables[table].schema

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                with self._writing():
                    for table in self._tables.values():
                        table.finish()
                    self._publish()
        finally:
            for table in self._tables.values():
                table.abandon()
            with suppress(OSError):  # what cannot be deleted is nobody's asset
                if self._store.files.get_file_info(self._desk).type == fs.FileType.Directory:
                    self._store.files.delete_dir(self._desk)

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
