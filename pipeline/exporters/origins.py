"""Where what a version asks about came from, and under which licence."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).parent.parent / "sources"
OURS = "Apache-2.0"


class Origin(NamedTuple):
    """A source, whose it is, and its licence in the words of whoever gave it."""

    what: str
    origin: str
    licence: str


def origins(tasks: Iterable[str], sources: Iterable[str]) -> list[Origin]:
    """Of the tasks and sources that a version names.

    Raises:
        KeyError: for a source whose licence nobody has written down here.
    """
    drawn = sorted(set(tasks))
    synthetic = [Origin(", ".join(drawn), "synthetic, drawn by drawloop", OURS)] if drawn else []
    return synthetic + [origin for name in sorted(set(sources)) for origin in _KNOWN[name]()]


def _photos() -> Iterator[Origin]:
    coins = json.loads((SOURCES / "coins.json").read_text(encoding="utf-8"))
    yield Origin("photos: coins", coins["origin"], coins["licence"])
    yield Origin(
        "photos: stereo pair",
        "Motorcycle, Middlebury stereo benchmark 2014: D. Scharstein et al., GCPR 2014, as "
        "scikit-image ships it",
        "use and publication permitted; its authors ask to be cited",
    )


def _objects() -> Iterator[Origin]:
    told = json.loads((SOURCES / "objects.json").read_text(encoding="utf-8"))
    for photograph in told["photographs"]:
        yield Origin(f"objects: {photograph['name']}", photograph["origin"], photograph["licence"])


_KNOWN: dict[str, Callable[[], Iterator[Origin]]] = {"photos": _photos, "objects": _objects}
