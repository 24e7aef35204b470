"""Exporting beside what it cannot do without: pyarrow writes the same bytes, OpenCV draws and encodes.

    python benchmarks/exporting.py [--rows 400]

The yardstick gets everything ready made: the tables as Arrow, and every call to OpenCV that drew a
picture, written down while it was drawn. It decodes each base picture once for a problem, replays the
calls, encodes each distinct picture once, and writes the tables with the settings of the export. What is
ours alone is reading the set, rendering messages, counting tokens, placing labels, and making Arrow.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow.parquet as pq
from measure import HEAD, Claim, seconds
from pyarrow import fs

from assets.build import build
from assets.exports import of, story
from assets.graph import address, needed
from pipeline import canvas, images
from pipeline.exporters.export import Gallery, Given, export
from pipeline.exporters.told import Target
from pipeline.parts import parquet
from pipeline.store import Store
from pipeline.versions import Version, parse

VERSION = """
description: for a benchmark
seed: 3
canvas: {smallest: 448, largest: 448}
problems:
  tasks: {counting: {}, maze: {difficulty: [0, 0.5]}, views: {}, chart: {}, relation: {}, distance: {}}
  splits: {skills: 0, cold: %d, reflective: 0, rl: 0, evaluation: 0}
rollout: {max_context: 32768}
teacher: {policy: {kind: oracle}, sampling: {samples: 2}}
cold_model: {policy: {kind: oracle}, sampling: {samples: 1}}
reflective_model: {policy: {kind: oracle}, sampling: {samples: 1}}
filters: {cold: {min_turns: 2}, reflective: {rule: paper}}
"""
DRAWN = ("rectangle", "line", "circle", "putText")  # of OpenCV: what changes a picture


class Recorder:
    """OpenCV, with every call that draws written down: its name and all arguments but the picture."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(cv2, name)
        if name not in DRAWN:
            return real

        def noted(pixels: Any, *args: Any) -> Any:
            self.calls.append((real, args))
            return real(pixels, *args)

        return noted


def built(root: str, rows: int) -> tuple[Version, Store]:
    version, store = parse("exporting", VERSION % rows), Store.at(root)
    for asset in needed([of("cold")], version):
        build(asset, version, store)
    return version, store


def given(version: Version, store: Store) -> Given:
    place = address(of("cold"), version)
    part = next(Path(store.path(of("cold"), place)).glob("train-*.parquet"))
    schema = pq.read_schema(part).remove_metadata()
    return Given("cold", store.rows(of("cold"), place, "train"), schema)


class Strokes(Gallery):
    """The gallery of an export, which keeps what was decoded and drawn."""

    log: ClassVar[list[tuple[images.Image, list[Any]]]] = []

    def _picture(self, told: Any, view: Any) -> bytes:
        fresh = view.marks and view not in self._drawn
        recorder = Recorder()
        canvas.cv2 = recorder  # type: ignore[assignment]
        try:
            png = super()._picture(told, view)
        finally:
            canvas.cv2 = cv2
        if fresh:
            self.log.append((told.problem.images[view.base - 1], recorder.calls))
        return png


def claims(rows: int) -> Iterator[Claim]:
    with tempfile.TemporaryDirectory() as root:
        version, store = built(f"{root}/store", rows)
        manifest = store.manifest(of("cold"), address(of("cold"), version))
        assert manifest is not None
        told = story(version, "cold", manifest.facts, store)
        count = 0

        def ours() -> None:
            nonlocal count
            count += 1
            export("trl-sft", given(version, store), Target(), Path(f"{root}/{count}"), told)

        from pipeline.exporters import export as module

        module.Gallery = Strokes  # type: ignore[misc]
        ours()
        module.Gallery = Gallery  # type: ignore[misc]
        strokes = list(Strokes.log)
        parts = sorted(Path(f"{root}/1/data").iterdir())
        tables = [pq.ParquetFile(part) for part in parts]
        groups = [
            (table.schema_arrow, [table.read_row_group(n) for n in range(table.num_row_groups)])
            for table in tables
        ]

        def yardstick() -> None:
            base, pixels = "", np.empty(0)
            for image, calls in strokes:
                if image.sha256 != base:
                    base, pixels = image.sha256, images.decode(image)
                drawn = pixels.copy()
                for call, args in calls:
                    call(drawn, *args)
                images.png(drawn)
            for n, (schema, made) in enumerate(groups):
                with parquet(fs.LocalFileSystem(), f"{root}/yard-{n}.parquet", schema) as writer:
                    for group in made:
                        writer.write_table(group)

        mine, theirs = seconds(5, ours, yardstick)
        written = sum(table.metadata.num_rows for table in tables)
    yield Claim(
        f"{written} trajectories, {len(strokes)} pictures drawn, 448 px, as TRL's parquet",
        f"{mine:.2f} s",
        f"{theirs:.2f} s, pyarrow and OpenCV",
        f"{mine / theirs:.2f} × as long",
        "≤ 1.25 ×",
    )


def peaks(rows: tuple[int, int]) -> Iterator[Claim]:
    """Peak memory of an export, in processes of their own, of a set and of one that is larger."""
    few, many = (_peak(count) for count in rows)
    yield Claim(
        f"peak memory, {rows[1]} problems exported",
        f"{many / 1024:,.0f} MB",
        f"{few / 1024:,.0f} MB, {rows[0]}",
        f"{many / few:.2f} ×",
        "flat",
    )


def _peak(count: int) -> int:
    """kB."""
    done = subprocess.run(
        [sys.executable, __file__, "--peak", str(count)], check=True, capture_output=True, text=True
    )
    return int(done.stdout.split()[-1])


def _export_alone(root: str, count: int) -> None:
    version, store = parse("exporting", VERSION % count), Store.at(f"{root}/store")
    manifest = store.manifest(of("cold"), address(of("cold"), version))
    assert manifest is not None
    told = story(version, "cold", manifest.facts, store)
    export("trl-sft", given(version, store), Target(), Path(f"{root}/out"), told)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200, help="problems")
    parser.add_argument("--peak", type=int, help="only: the peak memory of exporting that many, kB")
    parser.add_argument("--at", help="only: exports what is built there")
    asked = parser.parse_args()
    if asked.at:
        _export_alone(asked.at, asked.peak)
    elif asked.peak:
        with tempfile.TemporaryDirectory() as root:
            built(f"{root}/store", asked.peak)
            script = [sys.executable, __file__, "--peak", str(asked.peak), "--at", root]
            subprocess.run(script, check=True)
    else:
        print(HEAD, flush=True)
        for claim in claims(asked.rows):
            print(claim, flush=True)
        for claim in peaks((asked.rows, 4 * asked.rows)):
            print(claim, flush=True)


if __name__ == "__main__":
    main()
