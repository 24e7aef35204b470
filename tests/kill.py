"""Builds that are killed: `python -m tests.kill --version mini --kills 30`.

One build is left alone and timed. Others, of the same version in stores of their own, are killed at
random moments of all the work that they have to do: each is started, its whole process group killed
with SIGKILL, started again to go on where it was, and at last let through. After each kill every
asset must be complete, with the hashes of its manifest, or absent; at the end all files must be those
of the first build. Exits with 1 otherwise.

`tiny` is a version of its own, small and without training; any other is read from versions/.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from assets.graph import NODES
from assets.models import METRICS
from pipeline.manifest import MANIFEST
from pipeline.store import Store, StoreError
from tests.assets.conftest import TINY

ROOT = Path(__file__).parent.parent
# Folders of writers', trainers' and the turns' own: what they leave they clear or go on from.
OWN = {"tmp", "runs", "replay"}


def building(place: Path, version: str, *options: str) -> "subprocess.Popen[bytes]":
    """`drawloop build` of a version, in a process group of its own, in a store of its own."""
    home = place / "home"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    environment = {"DRAWLOOP_DATA": str(place / "data"), "DAGSTER_HOME": str(home)}
    if version == "tiny":
        (place / "versions").mkdir(exist_ok=True)
        (place / "versions" / "tiny.yaml").write_text(TINY)
        environment["DRAWLOOP_VERSIONS"] = str(place / "versions")
    with (place / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [Path(sys.executable).parent / "drawloop", "build", *options, version],
            env={**os.environ, **environment}, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip


def built(place: Path, version: str, *options: str) -> float:
    """Seconds that an undisturbed build takes."""
    start = time.monotonic()
    code = building(place, version, *options).wait()
    if code:
        said = (place / "said.txt").read_text(errors="replace").splitlines()[-1:]
        raise SystemExit(f"a build that nobody disturbed ended with {code}: {said}")
    return time.monotonic() - start


def killed(place: Path, version: str, after: float, *options: str) -> bool:
    """Starts a build and kills it and all that it started; False if it was done before."""
    process = building(place, version, *options)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def torn(data: Path) -> Iterator[str]:
    """What of a store is neither complete nor absent."""
    store = Store.at(data)
    for folder in sorted(data.glob("*/*")):
        asset, address = folder.parent.name, folder.name
        if asset not in NODES:
            continue
        if not (folder / MANIFEST).exists():
            yield f"{asset}/{address} has no manifest"
            continue
        try:
            wrong = store.damaged(asset, address)
        except StoreError as error:
            yield str(error)
            continue
        yield from (f"{asset}/{address}/{name} has another hash" for name in wrong)


def hashes(data: Path) -> dict[str, str]:
    """The sha256 of every file of every asset, short of how long trainings took."""
    return {
        str(path.relative_to(data)): hashlib.sha256(timeless(path)).hexdigest()
        for path in sorted(data.rglob("*"))
        if path.is_file() and path.relative_to(data).parts[0] not in OWN
    }


def timeless(path: Path) -> bytes:
    """A file's bytes; a training's metrics without times, and its manifest without their hash."""
    if path.name == METRICS:
        rows = map(json.loads, path.read_text().splitlines())
        return json.dumps([_without_times(row) for row in rows]).encode()
    if path.name == MANIFEST and METRICS in (said := json.loads(path.read_text()))["parts"]:
        said["parts"][METRICS] = "compared by itself"
        return json.dumps(said).encode()
    return path.read_bytes()


def _without_times(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if not name.startswith("seconds")}


def trial(
    place: Path, version: str, kills: int, seed: int, *options: str, each: int = 10
) -> list[str]:
    """What went wrong, of builds that are killed so many times, one at most ``each`` times.

    Says what happens as it does. A build that is done before its moment has come is compared and
    cleared away, and the kill falls on one that starts anew.
    """
    took = built(place / "calm", version, *options)
    starting = built(place / "calm", version, *options)  # finds that there is nothing to do
    print(f"undisturbed: {took:.1f} s, of which {starting:.1f} s to start", flush=True)
    calm, disturbed = hashes(place / "calm" / "data"), place / "killed"
    rng, wrong, done = Random(seed), list[str](), 0
    while done < kills:
        now = min(each, kills - done)
        moments = sorted(rng.uniform(0, took) for _ in range(now))
        for before, moment in pairwise([0.0, *moments]):
            after = moment - before + (starting if before else 0)
            while not killed(disturbed, version, after, *options):
                wrong += differences(calm, hashes(disturbed / "data"))
                shutil.rmtree(disturbed)
                after *= 0.9  # or a build that is faster than the first would never be killed
            done += 1
            found = list(torn(disturbed / "data"))
            wrong += found
            state = "; ".join(found) or "each whole"
            assets = _assets(disturbed / "data")
            print(f"kill {done} after {after:.2f} s: {assets} assets, {state}", flush=True)
        took_now = built(disturbed, version, *options)
        wrong += differences(calm, hashes(disturbed / "data"))
        print(f"killed {now} times, then let through in {took_now:.1f} s", flush=True)
        shutil.rmtree(disturbed)
    print(f"{kills} kills; {len(calm)} files compared, {len(wrong)} wrong", *wrong, sep="\n  ")
    return wrong


def _assets(data: Path) -> int:
    return sum(1 for path in data.glob(f"*/*/{MANIFEST}") if path.parts[-3] in NODES)


def differences(calm: dict[str, str], after: dict[str, str]) -> list[str]:
    names = sorted({*calm, *after})
    return [f"{name} differs" for name in names if calm.get(name) != after.get(name)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds that are killed.")
    parser.add_argument("--version", default="tiny", help="a dataset version, or `tiny`")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sets", action="store_true", help="only the sets and their exports")
    asked = parser.parse_args()
    options = ["--sets"] if asked.sets else []
    with tempfile.TemporaryDirectory(prefix="drawloop-kill-") as place:
        wrong = trial(Path(place), asked.version, asked.kills, asked.seed, *options)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
