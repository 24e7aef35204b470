"""Exporters: our sets in the forms that training frameworks load. One line each in ``EXPORTERS``.

A format is data: which rows it takes, how its files lie, and a pure function from a told row to one
of its own. `export.export` does the rest, alike for all: conversion, lengths, pictures, counts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, cast

import pyarrow as pa

if TYPE_CHECKING:
    from pipeline.exporters.told import Told
    from pipeline.protocol import Message

SETS = ("skills", "cold", "reflective", "rl")  # what can be exported, by the split it is made of
TRAJECTORIES, PROBLEMS = ("skills", "cold", "reflective"), ("rl",)

Cell = dict[str, Any] | str  # a picture in a row: {bytes, …}, or its path in the folder


@dataclass(frozen=True, slots=True)
class Format:
    """What one framework loads.

    ``schema`` are the columns, of JSON too, and ``row`` makes the format's row of a told one and its
    pictures; without them rows stay as they are.
    ``placeholders`` counts the places for pictures in such a row. ``tags`` are texts that the
    framework takes for a placeholder wherever they stand. ``beside`` are files that it needs, by
    name; ``use`` are lines of Markdown on how to load it.
    """

    framework: str  # and the version whose loader was read
    takes: tuple[str, ...]  # of SETS
    container: Literal["parquet", "jsonl", "json"]
    pictures: Literal["embedded", "files"]
    schema: pa.Schema | None
    row: "Callable[[Told, Sequence[Cell]], dict[str, Any]] | None"
    placeholders: Callable[[Mapping[str, Any]], int]
    use: str
    tags: tuple[str, ...] = ()
    decoded: bool = False  # the schema tells `datasets` that the pictures are pictures
    framed: "Callable[[tuple[Message, ...]], tuple[Message, ...]] | None" = None
    beside: Mapping[str, str] | None = None


def _format(module: str, name: str) -> Callable[[], Format]:
    return lambda: cast(Format, getattr(import_module(f"pipeline.exporters.{module}"), name))


EXPORTERS: dict[str, Callable[[], Format]] = {
    "native": _format("native", "NATIVE"),
    "trl-sft": _format("trl", "SFT"),
    "trl-grpo": _format("trl", "GRPO"),
    "llamafactory": _format("llamafactory", "SFT"),
    "verl-sft": _format("verl", "SFT"),
    "verl-rl": _format("verl", "RL"),
    "easyr1": _format("easyr1", "RL"),
    "ms-swift": _format("msswift", "ROWS"),
    "vilasr-sft": _format("vilasr", "SFT"),
    "vilasr-rl": _format("vilasr", "RL"),
}
