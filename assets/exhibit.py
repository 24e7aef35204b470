"""A gallery of what is built of one version, or of two beside each other: `drawloop gallery`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from assets.build import find
from assets.gallery import READ, STAGES, available, exhibits, notes, of_each, workers
from assets.graph import address
from assets.inputs import Inputs
from pipeline import gallery
from pipeline.store import Store, StoreError
from pipeline.versions import Version


@dataclass(frozen=True, slots=True)
class Made:
    """A gallery that was made: its page, the trajectories on it, and what was not built for it."""

    page: Path
    shown: int
    missing: tuple[str, ...]  # "version: stage"


def exhibit(
    versions: Sequence[Version], store: Store, stages: Sequence[str], most: int, folder: Path
) -> Made:
    """Makes a gallery in a folder, of the stages that are built.

    Args:
        most: trajectories of a stage; 0 for all.

    Raises:
        StoreError: if none of the stages of a version is built.
        GalleryError: if something else lies in the folder.
    """
    gallery.replaceable(folder)
    hung = [(version, *_there(version, store, stages)) for version in versions]
    shown = [(v, inputs, of_each(v, inputs, there, most)) for v, inputs, there in hung]
    left_out = chain.from_iterable(notes(*one) for one in shown)
    heading = gallery.Heading(" beside ".join(v.name for v in versions), [*left_out])
    groups = chain.from_iterable(exhibits(*one) for one in shown)
    decided = {version.name: version.decisions for version in versions}
    hands = workers(sum(sum(parts.values()) for _, _, parts in shown))
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = gallery.write(folder, heading, groups, decided, hands)
    return Made(folder / "index.html", made, tuple(_missing(hung, stages)))


def _there(version: Version, store: Store, stages: Sequence[str]) -> tuple[Inputs, list[str]]:
    """What is built of a version, and the stages that can be shown of it."""
    read = [name for name in ("problems", *READ) if find(name, version, store) is not None]
    inputs = Inputs(store, {name: address(name, version) for name in read})
    there = [stage for stage in STAGES if stage in stages and stage in available(inputs)]
    if not there:
        raise StoreError(
            f"{version.name} has nothing of {', '.join(stages)} yet: drawloop build {version.name}"
        )
    return inputs, there


def _missing(
    hung: Sequence[tuple[Version, Inputs, list[str]]], stages: Sequence[str]
) -> Iterator[str]:
    for version, _, there in hung:
        yield from (f"{version.name}: {stage}" for stage in stages if stage not in there)
