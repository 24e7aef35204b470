"""What a folder of the store says it holds. Nothing of it is believed before it has been looked at."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MANIFEST = "manifest.json"
CARD = "README.md"  # it tells of rows and how they were made, and is none of them


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a folder holds: rows and parts of each table, and facts about how it was made."""

    tables: Mapping[str, int]  # table → rows
    parts: Mapping[
        str, Mapping[str, Any]
    ]  # file name → {"sha256", "bytes", "rows"}; files have 0 rows
    facts: Mapping[str, Any]
    columns: Mapping[str, Sequence[str]]  # table → what its rows hold

    @staticmethod
    def of(content: Any) -> "Manifest":
        """The manifest of parsed JSON, of which nothing is believed.

        Raises:
            ValueError: if it is none, or contradicts itself.
        """
        try:
            columns = {name: _columns(told) for name, told in content["schemas"].items()}
            manifest = Manifest(content["tables"], content["parts"], content["facts"], columns)
            rows = dict.fromkeys(manifest.tables, 0)
            for name, part in manifest.parts.items():
                if name == MANIFEST or not _is_inside(name):
                    raise ValueError(f"{name!r} is no part of a folder")
                counts = (part["bytes"], part["rows"])
                if len(bytes.fromhex(part["sha256"])) != 32 or not all(map(_is_count, counts)):
                    raise ValueError(f"{name} has no hash, or a size that is none")
                rows[table_of(name)] = rows.get(table_of(name), 0) + part["rows"]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(repr(error)) from None
        if {name: rows[name] for name in manifest.tables} != manifest.tables:
            raise ValueError("its parts have other rows than its tables")
        if not set(manifest.tables) <= set(columns) or not isinstance(manifest.facts, dict):
            raise ValueError("a table without its columns, or no facts")
        return manifest

    @property
    def data_version(self) -> str:
        """A hash of the contents: equal for equal rows, whatever made them."""
        parts = {name: part["sha256"] for name, part in self.parts.items() if name != CARD}
        digests = json.dumps(parts)
        return hashlib.sha256(digests.encode()).hexdigest()[:16]

    @property
    def bytes(self) -> int:
        return sum(int(part["bytes"]) for part in self.parts.values())


def _columns(schema: str) -> list[str]:
    """The names at the top of a schema as pyarrow prints it; what is nested is indented."""
    lines = schema.partition("\n-- schema metadata --")[0].splitlines()
    return [line.partition(": ")[0] for line in lines if not line.startswith(" ")]


def _is_count(number: Any) -> bool:
    return type(number) is int and number >= 0  # true is an int, and JSON has 1e999


def _is_inside(name: str) -> bool:
    steps = name.split("/")
    return not {"", ".", ".."} & set(steps) and "\\" not in name and "\0" not in name


def table_of(part: str) -> str:
    return part.rsplit("-", 1)[0]
