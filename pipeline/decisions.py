"""What a person decided: trajectories to be taken into a set, or kept out of it, by id.

A file of one JSON object a line, beside the version (``versions/NAME.decisions.jsonl``):

    {"id": "maze-cold-000017#0", "keep": false, "note": "the route crosses a wall"}
    {"id": "counting-cold-000004#2", "keep": true, "texts": "5f0c0e9d3bb1a6a0"}

Guarantees: a line that is not understood is refused with its number; one id is decided once. With
``texts``, a hash of what was read, a decision is about those words and no others: an id means
another trajectory once the version's seed or teacher is another.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.types import Trajectory

ACCEPTED, REJECTED = "accepted", "rejected"  # by hand: the reasons in verdicts
KINDS: Mapping[str, type] = {"id": str, "keep": bool, "note": str, "texts": str}
MOST_BYTES = 64 * 2**20


class DecisionError(ValueError):
    """A list of decisions that is refused; the message names the file, the line and what is allowed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a person wants a trajectory in its set, and why."""

    keep: bool
    note: str = ""
    texts: str = ""  # `fingerprint` of the trajectory that was read; empty: whatever has the id

    def is_about(self, trajectory: Trajectory) -> bool:
        return not self.texts or self.texts == fingerprint(trajectory)


NOBODY: Mapping[str, Decision] = MappingProxyType({})


def fingerprint(trajectory: Trajectory) -> str:
    """32 hex digits that name what a trajectory says."""
    texts = json.dumps([turn.text for turn in trajectory.turns])
    return hashlib.blake2b(texts.encode(), digest_size=16).hexdigest()


def read(path: Path) -> dict[str, Decision]:
    """Decisions by trajectory id; none if there is no file.

    Raises:
        DecisionError: naming the file, the line and what is allowed there.
    """
    if not path.exists():
        return {}
    if path.stat().st_size > MOST_BYTES:
        raise DecisionError(
            f"{path.name}: {path.stat().st_size} bytes, at most {MOST_BYTES} are read"
        )
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise DecisionError(f"{path.name}: not UTF-8: {error}") from None
    found: dict[str, Decision] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path.name}, line {number}"
        name, decision = read_line(line, where)
        if name in found:
            raise DecisionError(f"{where}: {name!r} is decided a second time: leave one line of it")
        found[name] = decision
    return found


def write(path: Path, decided: Mapping[str, Decision]) -> None:
    """The file that `read` reads, in the order of ids."""
    lines = []
    for name, decision in sorted(decided.items()):
        more = {"note": decision.note, "texts": decision.texts}
        row = {"id": name, "keep": decision.keep, **{k: v for k, v in more.items() if v}}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    path.write_text("".join(lines), encoding="utf-8")


def read_line(line: str, where: str) -> tuple[str, Decision]:
    """The id of a line of the file, and what is decided on it; ``where`` is named in errors."""
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DecisionError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict):
        raise DecisionError(f"{where}: an object is needed, like {{'id': …, 'keep': true}}")
    if unknown := [name for name in row if name not in KINDS]:
        raise DecisionError(f"{where}: no field {unknown[0]!r}; there are {', '.join(KINDS)}")
    for name, kind in KINDS.items():
        if name in ("id", "keep") and name not in row:
            raise DecisionError(f"{where}: {name} is missing")
        if not isinstance(value := row.get(name, kind()), kind):
            word = "true or false" if kind is bool else "a text"
            raise DecisionError(f"{where}: {name}: {value!r}: {word} is needed")
    return row.pop("id"), Decision(**row)
