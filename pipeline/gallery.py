"""A page to look at trajectories with: a folder that a browser opens, without a server or a network.

``index.html`` and its scripts; ``data/index.js`` with what a list and its filters need of every
trajectory; ``data/part-…js`` with their texts, a few dozen each, read when one is looked at;
``pictures/`` by name. Parts are scripts because a page that is opened as a file may read no others.

Guarantees: the same exhibits give the same bytes; memory does not grow with the texts or the
pictures; whatever a model wrote is data to the page. A folder is replaced whole, or left as it was.
Does not: delete a folder that is not a gallery.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.crew import crew, done
from pipeline.decisions import Decision
from pipeline.exhibits import Group, Shown, pack, show

PAGE = Path(__file__).parent / "page"
FACETS = {  # what exhibits are filtered by, and how the page calls it
    "version": "version",
    "stage": "stage",
    "writer": "written by",
    "task": "task",
    "modality": "modality",
    "verdict": "verdict",
    "reason": "reason",
    "stop": "stop",
    "answer": "answer",
    "reflection": "reflection",
}
DECIDED = ("cold", "reflective")  # the stages on whose trajectories curation honours decisions
PART_BYTES = 200_000  # of a part, before it is closed: a moment to read
PART_ROWS = 64
PIECE = 8  # problems that a worker is given at a time
INDEX = "data/index.js"


class GalleryError(ValueError):
    """A folder that a gallery may not take the place of; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What the page says of itself: its title, and what it leaves out, in words."""

    title: str
    notes: Sequence[str] = ()


@dataclass(slots=True)
class _Index:
    """What the list and its filters need, a column a facet, words as numbers."""

    words: dict[str, dict[str, int]] = field(default_factory=lambda: {name: {} for name in FACETS})
    problems: dict[tuple[str, str], int] = field(default_factory=dict)
    asked: list[list[Any]] = field(default_factory=list)  # id, name of what is asked, question
    rows: list[list[Any]] = field(default_factory=list)

    def add(self, shown: Shown, part: int, place: int) -> None:
        key = (shown.brief["id"], shown.problem)
        if key not in self.problems:
            self.problems[key] = len(self.asked)
            self.asked.append([*key, shown.brief["question"]])
        facets = [self._numbers(name, shown.facets[name]) for name in FACETS]
        brief = [shown.brief[name] for name in ("sample", "total", "picture")]
        self.rows.append([*facets, self.problems[key], part, place, *brief])

    def _numbers(self, facet: str, value: str | Sequence[str]) -> int | list[int]:
        known = self.words[facet]
        if isinstance(value, str):
            return known.setdefault(value, len(known))
        return [known.setdefault(word, len(known)) for word in value]


def write(
    folder: Path,
    heading: Heading,
    groups: Iterable[Group],
    decided: Mapping[str, Mapping[str, Decision]],
    workers: int = 1,
) -> int:
    """Writes a gallery of exhibits, in their order.

    Args:
        folder: takes the place of a gallery that is there.
        decided: what a person decided before, by version.
        workers: processes that draw.

    Returns:
        how many exhibits it shows.

    Raises:
        GalleryError: if something else lies in the folder.
    """
    replaceable(folder)
    coming = folder.with_name(f".{folder.name}-coming")
    shutil.rmtree(coming, ignore_errors=True)
    try:
        for part in ("data", "pictures"):
            (coming / part).mkdir(parents=True)
        index = _Index()
        with crew(workers) as pool:
            pieces = _pieces(groups)
            made = done(pool, partial(show, coming / "pictures"), pieces, 2 * workers)
            parts = _parts(index, made)
            for number, part_text in enumerate(parts):
                _put(coming / f"data/part-{number:05d}.js", f"gallery.take({number}, ", part_text)
        _put(coming / INDEX, "gallery.open(", pack(_told(index, heading, decided)))
        for file in sorted(PAGE.iterdir()):
            shutil.copyfile(file, coming / file.name)
        shutil.rmtree(folder, ignore_errors=True)
        coming.rename(folder)
    finally:
        shutil.rmtree(coming, ignore_errors=True)
    return len(index.rows)


def replaceable(folder: Path) -> None:
    """Raises a GalleryError unless a gallery may take this place."""
    taken = folder.is_file() or (folder.exists() and any(folder.iterdir()))
    if taken and not (folder / INDEX).is_file():
        raise GalleryError(f"{folder} is there and is no gallery: name another place with --to")


def _pieces(groups: Iterable[Group]) -> Iterator[list[Group]]:
    waiting = iter(groups)
    return iter(lambda: list(islice(waiting, PIECE)), [])


def _parts(index: _Index, made: Iterable[list[Shown]]) -> Iterator[str]:
    """The texts of all parts, in order; what is in them goes into the index on the way."""
    part, asked, records, size = 0, dict[str, str](), list[str](), 0
    for shown in (one for piece in made for one in piece):
        index.add(shown, part, len(records))
        size += len(shown.record) + (0 if shown.problem in asked else len(shown.asked))
        asked[shown.problem] = shown.asked
        records.append(shown.record)
        if size >= PART_BYTES or len(records) >= PART_ROWS:
            yield _joined(asked, records)
            part, asked, records, size = part + 1, {}, [], 0
    if records:
        yield _joined(asked, records)


def _joined(asked: Mapping[str, str], records: Sequence[str]) -> str:
    problems = ",".join(f"[{pack(name)},{text}]" for name, text in asked.items())
    return f'{{"problems":[{problems}],"records":[{",".join(records)}]}}'


def _told(
    index: _Index, heading: Heading, decided: Mapping[str, Mapping[str, Decision]]
) -> dict[str, Any]:
    by_hand = [
        [version, [[n, d.keep, d.note, d.texts] for n, d in sorted(some.items())]]
        for version, some in decided.items()
    ]
    return {
        "title": heading.title,
        "notes": list(heading.notes),
        "facets": [[name, FACETS[name], [*words]] for name, words in index.words.items()],
        "decidable": list(DECIDED),
        "decisions": by_hand,
        "problems": index.asked,
        "rows": index.rows,
    }


def _put(path: Path, call: str, text: str) -> None:
    """A script that hands over JSON as a text: a browser parses that faster than a literal, and a
    key in it is never more than a key."""
    path.write_text(f"{call}{json.dumps(text)});\n", encoding="ascii")
