"""Imports: what a version file says of problems that people have already, and what decides them.

Guarantees: a section is checked before anything is read; the bytes of all data files decide what is
made of them, pictures included; where something came from and under which licence is always said.
Does not: read a row (`sources` does), or look at what a hub holds: there the revision decides.
"""

import hashlib
import os
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.fields import Real, Section, VersionError
from pipeline.version_files import folder

IMPORT = "2"  # part of what decides imported problems: raise it when a row would become another one

Name = Annotated[str, Field(min_length=1, max_length=1000)]
Coordinates = Literal["pixels", "thousandths"]  # of what was drawn in conversations
Split = Literal["skills", "cold", "reflective", "rl", "evaluation"]


class SourceError(VersionError):
    """Data that cannot be read at all; the message names the file and the remedy."""


class Columns(Section):
    """Which columns hold what. A column that the file names must be there; by default some may lack."""

    question: Name = "question"
    options: Name | Annotated[tuple[Name, ...], Field(min_length=2, max_length=26)] = "options"
    answer: Name = "answer"
    pictures: tuple[Name, ...] = ("picture",)
    video: Name | None = None
    kind: Name | None = None  # whether it is a choice or a number, by `kinds`
    marks: Name = "marks"  # boxes and lines whose place is known
    thought: Name = "thought"  # said with the marks, and with the answer
    conclusion: Name = "conclusion"
    id: Name | None = None
    group: Name | None = None  # rows of a group are of one split
    split: Name | None = None  # which split a row is of; without it chance decides

    @property
    def asked(self) -> tuple[str, ...]:
        """Columns that must be there."""
        always = {"question", "answer", "video", *([] if self.video else ["pictures"])}
        named = (getattr(self, field) for field in always | self.model_fields_set)
        return _flat(named)

    @property
    def names(self) -> tuple[str, ...]:
        return _flat(getattr(self, field) for field in type(self).model_fields)


def _flat(values: Iterator[Any]) -> tuple[str, ...]:
    several = (value if isinstance(value, tuple) else (value,) for value in values)
    return tuple(dict.fromkeys(name for names in several for name in names if name is not None))


class _Import(Section):
    """What every import says: where it lies, whose it is, its weight in the mix and its splits.

    ``path`` is a folder, all of which decides what is made of it, or a file that holds its own
    pictures. A relative path is one from the folder of version files.
    """

    path: Name
    origin: Name
    licence: Name
    share: Annotated[Real, Field(gt=0, le=1000)] = 1.0
    splits: Annotated[tuple[Split, ...], Field(min_length=1)] = (
        "skills", "cold", "reflective", "rl", "evaluation",
    )  # fmt: skip

    @property
    def found(self) -> Path:
        return folder() / self.path

    @property
    def root(self) -> Path | None:
        """The folder that no path of a row may leave; None: rows hold their pictures themselves.

        Raises:
            SourceError: if nothing lies there.
        """
        _there(self.found)
        return self.found if self.found.is_dir() else None

    @cached_property
    def sha256(self) -> str:
        """The hash of all its data, taken once: a version means the data as it first saw them.

        Raises:
            SourceError: if nothing lies there.
        """
        return digest(self.found)

    def recipe(self) -> dict[str, Any]:
        """What decides its problems; whose they are does not."""
        said = self.model_dump(mode="json", exclude={"path", "origin", "licence"})
        return {**said, "import": IMPORT, "sha256": self.sha256}


class _Table(_Import):
    """An import of rows whose columns the version names."""

    columns: Columns = Columns()
    answers: Literal["text", "index"] = "text"  # a letter or an option's text; or its index from 0
    kinds: dict[str, Literal["choice", "number"]] = {}  # by the value of the column `kind`

    @model_validator(mode="after")
    def _kinds_of_a_column(self) -> "_Table":
        if bool(self.kinds) != bool(self.columns.kind):
            raise ValueError("kinds and columns.kind go together: name both, or neither")
        return self


class FolderImport(_Table):
    """A folder of pictures with a file of annotations: JSON lines, or CSV with a header."""

    kind: Literal["folder"]
    annotations: Name = "annotations.jsonl"


class HuggingFaceImport(_Table):
    """Rows in the form of Hugging Face: a parquet or JSONL file, a folder of a dataset, or a hub's.

    ``hub`` is a name there; then ``revision``, a commit, decides what it holds.
    """

    kind: Literal["huggingface"]
    path: Annotated[str, Field(max_length=1000)] = ""
    hub: Name | None = None
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None
    subset: Name | None = None
    split: Name = "train"
    columns: Columns = Columns(pictures=("image",))

    @model_validator(mode="after")
    def _one_place(self) -> "HuggingFaceImport":
        if bool(self.path) == bool(self.hub):
            raise ValueError("path or hub: name one of them")
        if bool(self.hub) != bool(self.revision):
            raise ValueError("hub and revision, a commit of 40 hex digits, go together")
        return self

    @property
    def root(self) -> Path | None:
        return None if self.hub else super().root

    @cached_property
    def sha256(self) -> str:
        return f"{self.hub}@{self.revision}" if self.hub else digest(self.found)


class VilasrImport(_Import):
    """ViLaSR's published files: problems for RL as JSON lines, or conversations for SFT."""

    kind: Literal["vilasr"]
    form: Literal["rl", "sft"]
    files: Annotated[tuple[Name, ...], Field(min_length=1)]
    coordinates: Coordinates = "pixels"


class SharegptImport(_Import):
    """A dataset of LLaMA-Factory in sharegpt form, as its ``dataset_info.json`` describes it."""

    kind: Literal["sharegpt"]
    dataset: Name
    coordinates: Coordinates = "pixels"


Import = Annotated[
    FolderImport | HuggingFaceImport | VilasrImport | SharegptImport, Field(discriminator="kind")
]
IMPORT_KINDS = ("folder", "huggingface", "vilasr", "sharegpt")


# What decides it ---------------------------------------------------------------------------------


def digest(path: Path) -> str:
    """The sha256 of a file, or of the names and bytes of all files under a folder.

    Links out of the folder are no part of it: nothing reads them either.

    Raises:
        SourceError: if the path is not there, or a file cannot be read.
    """
    _there(path)
    listing = hashlib.sha256()
    for name, file in _files(path):
        stat = file.stat()
        listing.update(os.fsencode(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0"))
    return _digest(path, listing.digest())


def _there(path: Path) -> None:
    if not path.is_file() and not path.is_dir():  # a pipe would be waited for
        raise SourceError(f"{path} is not there: put the data there, or mend the import's path")


def leading_out(path: Path) -> Iterator[Path]:
    """Links under a folder that lead out of it, which `digest` leaves out."""
    inside = path.resolve()
    for place, folders, names in os.walk(path):
        for one in (Path(place, name) for name in (*folders, *names)):
            if one.is_symlink() and not Path(os.path.realpath(one)).is_relative_to(inside):
                yield one


@lru_cache(maxsize=64)  # bytes are read again when a name, a size or a time has changed
def _digest(path: Path, listing: bytes) -> str:
    every = hashlib.sha256()
    for name, file in _files(path):
        every.update(os.fsencode(name) + b"\0")
        try:
            with file.open("rb") as stream:
                every.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise SourceError(
                f"{file} cannot be read: {error.strerror}: make it readable"
            ) from None
    return every.hexdigest()


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Plain files by their name under a path, in order; a file alone has no name."""
    if not path.is_dir():
        yield "", path
        return
    inside = path.resolve()
    for place, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = Path(place, name)
            if file.is_file() and file.resolve().is_relative_to(inside):
                yield str(file.relative_to(path)), file
