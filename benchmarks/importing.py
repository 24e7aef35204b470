"""Imports: rows a second, and whether memory stays flat from 10,000 rows to 100,000.

``python benchmarks/importing.py`` lays out pictures of its own in a temporary folder, under 1 GB, and
builds the asset `problems` of each size and form in a process of its own, by two workers. A form
is a folder with JSON lines and a picture a row, or one parquet with the pictures in it.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIZES = (10_000, 100_000)
SIDE = 56  # px: a small picture, so that what is measured is rows
GROUP = 1000  # rows of a row group
STUDENT = {"policy": {"kind": "checkpoint", "model": "none"}, "sampling": {"samples": 1}}
MEASURED = """
import json, resource, sys, time
from assets.build import build
from pipeline.store import Store
from pipeline.versions import load
start = time.perf_counter()
built = build("problems", load(sys.argv[1]), Store.at(sys.argv[2]))
print(json.dumps({
    "kept": built.manifest.facts["yield"]["kept"],
    "seconds": time.perf_counter() - start,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    "workers": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
}))
"""


def pictures(count: int) -> Iterator[bytes]:
    """JPEGs of cells of noise, each of its own: some 2 kB."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        cells = rng.integers(0, 255, (7, 7, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(cells.repeat(SIDE // 7, 0).repeat(SIDE // 7, 1)).save(file, "JPEG")
        yield file.getvalue()


def lay(folder: Path, count: int) -> None:
    """Both forms of the same rows."""
    (folder / f"folder-{count}").mkdir()
    (folder / f"parquet-{count}").mkdir()
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("question", pa.string()), ("answer", pa.string())])
    waiting: list[dict[str, object]] = []
    with (
        (folder / f"folder-{count}" / "annotations.jsonl").open("w") as lines,
        pq.ParquetWriter(folder / f"parquet-{count}" / "rows.parquet", schema) as table,
    ):
        for n, data in enumerate(pictures(count)):
            place = folder / f"folder-{count}" / f"{n // 1000:03d}"
            place.mkdir(exist_ok=True)
            (place / f"{n:06d}.jpg").write_bytes(data)
            row = {"question": f"How many cells are light in {n}?", "answer": str(n % 50)}
            lines.write(json.dumps({"picture": f"{place.name}/{n:06d}.jpg", **row}) + "\n")
            waiting.append({"image": {"bytes": data, "path": None}, **row})
            if len(waiting) == GROUP or n + 1 == count:
                table.write_table(pa.Table.from_pylist(waiting, schema))
                waiting.clear()


def version(folder: Path, form: str, count: int) -> str:
    """Writes the version file of a form and size; its name."""
    kind = "folder" if form == "folder" else "huggingface"
    path = f"{form}-{count}" + ("" if form == "folder" else "/rows.parquet")
    one = {"kind": kind, "path": path, "origin": "a benchmark", "licence": "CC0-1.0"}
    splits = dict.fromkeys(("cold", "reflective", "rl", "evaluation"), count) | {"skills": 0}
    content = {
        "description": "for a benchmark",
        "canvas": {"smallest": 112, "largest": 112},
        "problems": {"imports": {"rows": one}, "splits": splits},
        "teacher": STUDENT,
        "cold_model": STUDENT,
        "reflective_model": STUDENT,
        "filters": {"cold": {"min_turns": 1}, "reflective": {"rule": "none"}},
    }
    (folder / f"{form}-{count}.yaml").write_text(json.dumps(content))
    return f"{form}-{count}"


def measured(folder: Path, name: str) -> dict[str, float]:
    made = {**os.environ, "DRAWLOOP_VERSIONS": str(folder), "DRAWLOOP_WORKERS": "2"}
    command = [sys.executable, "-c", MEASURED, name, str(folder / "data")]
    done = subprocess.run(command, env=made, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES)
    sizes = parser.parse_args().rows
    print("| form | rows | kept | rows/s | peak memory | × the smallest | of a worker |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for count in sizes:
            lay(folder, count)
        for form in ("folder", "parquet"):
            least = 0.0
            for count in sizes:
                told = measured(folder, version(folder, form, count))
                least = least or told["peak"]
                print(
                    f"| {form} | {count:,} | {told['kept']:,} | {count / told['seconds']:,.0f} | "
                    f"{told['peak'] / 1024:.0f} MB | {told['peak'] / least:.2f} | "
                    f"{told['workers'] / 1024:.0f} MB |",
                    flush=True,
                )


if __name__ == "__main__":
    start = time.perf_counter()
    main()
    print(f"\n{time.perf_counter() - start:.0f} s in all", file=sys.stderr)
