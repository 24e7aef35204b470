"""What an export writes: rows as parquet, JSON lines or one JSON list, and pictures beside them.

Guarantees: the same rows give the same bytes; memory holds a row group; a folder appears whole or not
at all. Does not: overwrite anything but an earlier export.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from pyarrow import fs

from pipeline.parts import Parts

REPORT = "report.json"
DATA, PICTURES = "data", "images"
SHARD_BYTES = 256 * 2**20  # of pictures and texts in memory; well under what pandas reads at once


class ExportError(Exception):
    """An export that cannot be written there; the message names the place and the remedy."""


@contextmanager
def arriving(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write into, which takes its place when the block ends, and vanishes when it fails.

    Raises:
        ExportError: if something lies there already, unless it is an export and may be overwritten.
    """
    folder = folder.resolve()  # behind a link, its own folder is replaced
    _check(folder, overwrite=overwrite)
    coming = folder.with_name(f".{folder.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    gone = coming.with_name(f"{coming.name}-gone")
    try:
        coming.mkdir(parents=True)
        yield coming
        if folder.exists() and any(folder.iterdir()):
            folder.replace(gone)
        coming.replace(folder)  # an empty folder makes way
    except OSError as error:
        raise ExportError(
            f"{folder} cannot be written: {error}; make room, or name another"
        ) from error
    finally:
        shutil.rmtree(coming, ignore_errors=True)
        shutil.rmtree(gone, ignore_errors=True)


def _check(folder: Path, *, overwrite: bool) -> None:
    if folder.is_file():
        raise ExportError(f"{folder} is a file: name a folder")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not overwrite:
        raise ExportError(f"{folder} is not empty: name another folder, or say --overwrite")
    if not (folder / REPORT).is_file():
        raise ExportError(
            f"{folder} holds no {REPORT}, so it is no export, and is not overwritten: empty it yourself"
        )


class Rows(Protocol):
    """Where rows go: a context manager that closes its files."""

    def append(self, row: Mapping[str, Any]) -> None: ...

    def __enter__(self) -> "Rows": ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None: ...


class Parquet:
    """``data/train-00000.parquet`` and so on, as the store writes parquet."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder / DATA
        path = str(self._folder / "train")
        self._parts = Parts(fs.LocalFileSystem(), path, schema, SHARD_BYTES)

    def __enter__(self) -> "Parquet":
        self._folder.mkdir()
        return self

    def append(self, row: Mapping[str, Any]) -> None:
        self._parts.append(dict(row))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._parts.finish()
        finally:
            self._parts.abandon()


class Json:
    """``train.jsonl``, or ``train.json`` as one list, a row a line either way."""

    def __init__(self, folder: Path, *, as_list: bool) -> None:
        self._path = folder / ("train.json" if as_list else "train.jsonl")
        self._as_list, self._rows = as_list, 0

    def __enter__(self) -> "Json":
        self._file = self._path.open("w", encoding="utf-8", newline="\n")
        if self._as_list:
            self._file.write("[\n")
        return self

    def append(self, row: Mapping[str, Any]) -> None:
        if self._as_list and self._rows:
            self._file.write(",\n")
        self._file.write(json.dumps(row, ensure_ascii=False))
        if not self._as_list:
            self._file.write("\n")
        self._rows += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._as_list:
            self._file.write("\n]\n")
        self._file.close()


def laid(folder: Path, png: bytes) -> str:
    """A picture in a folder, named by its bytes: the same picture lies there once."""
    digest = hashlib.sha256(png).hexdigest()[:32]
    name = f"{PICTURES}/{digest[:2]}/{digest}.png"
    place = folder / name
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(png)
    return name


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    """Bytes and sha256 of every file but pictures, by name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(f"{PICTURES}/"):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[name] = {"bytes": path.stat().st_size, "sha256": digest}
    return found
