"""Sources: problems on pictures that were found, not drawn. One line each in ``SOURCES``.

A source is a frozen dataclass whose fields are its whole configuration, like a task. Pictures are
few where drawings are endless, so a source is asked for a *split* as well: it keeps the pictures,
or the parts of them, that one split shows out of every other. The problem's ``id`` is left empty;
who samples names it. Everything random comes from ``rng``.

``IMPORTS`` are sources of another shape: finite lists of rows that people have already, as the
version file describes them (`pipeline.imports`).
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, cast

from pipeline.tasks import Wording
from pipeline.types import Problem

if TYPE_CHECKING:
    from pipeline.sources.ingest import Given
    from pipeline.sources.tables import Bad


class Source(Protocol):
    """What a source's dataclass offers. ``VERSION`` is part of every random stream's key: raise it
    when the same key would give another problem."""

    VERSION: str

    def sample(self, rng: Random, split: str) -> Problem:
        """One problem of a split, on pictures that fit into ``width`` × ``height`` px."""
        ...


class SourceType(Protocol):
    """The constructor all sources share: sides and unit in px, difficulty 0..1."""

    VERSION: str

    def __call__(
        self, *, width: int, height: int, unit: int, difficulty: float, wording: Wording
    ) -> Source: ...


def _source(module: str, name: str) -> Callable[[], SourceType]:
    return lambda: cast(SourceType, getattr(import_module(f"pipeline.sources.{module}"), name))


SOURCES: dict[str, Callable[[], SourceType]] = {
    "photos": _source("photos", "Photos"),
    "objects": _source("objects", "Objects"),
}


Rows = Callable[[Any], "Iterator[Given | Bad]"]


def _import(module: str) -> Callable[[], Rows]:
    return lambda: cast(Rows, import_module(f"pipeline.sources.{module}").rows)


IMPORTS: dict[str, Callable[[], Rows]] = {
    "folder": _import("folder"),
    "huggingface": _import("huggingface"),
    "vilasr": _import("vilasr"),
    "sharegpt": _import("sharegpt"),
}
