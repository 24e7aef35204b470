"""Builds that are killed: `python -m tests.kill --version mini --kills 30`.

One build is left alone and timed. Another, of the same version in a store of its own, is started
again and again and its whole process group killed with SIGKILL, at moments spread at random over
the time that the first took; then it is let through. After each kill every asset must be complete,
with the hashes of its manifest, or absent; at the end all files must be those of the first build.
Exits with 1 otherwise.

`tiny` is a version of its own, small and without training; any other is read from versions/.
"""

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from assets.graph import NODES
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
    """The sha256 of every file of every asset."""
    return {
        str(path.relative_to(data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(data.rglob("*"))
        if path.is_file() and path.relative_to(data).parts[0] not in OWN
    }


def trial(place: Path, version: str, kills: int, seed: int, *options: str) -> list[str]:
    """What went wrong, of a build that is killed so many times; says what happens as it does.

    Where all is there, it is compared and cleared away, and the next build starts anew.
    """
    took = built(place / "calm", version, *options)
    print(f"undisturbed: {took:.1f} s", flush=True)
    calm, disturbed = hashes(place / "calm" / "data"), place / "killed" / "data"
    rng, wrong = Random(seed), list[str]()
    moments = [took * (n + rng.random()) / kills for n in range(kills)]
    rng.shuffle(moments)
    for n, moment in enumerate(moments, 1):
        while not killed(place / "killed", version, moment, *options):
            wrong += differences(calm, hashes(disturbed))
            moment *= (
                0.9  # or it would be too late for ever, where a build is faster than the first
            )
            shutil.rmtree(disturbed)
        found = list(torn(disturbed))
        wrong += found
        there = sum(1 for path in disturbed.glob(f"*/*/{MANIFEST}") if path.parts[-3] in NODES)
        state = "; ".join(found) or "each whole"
        print(f"kill {n} after {moment:.2f} s: {there} assets, {state}", flush=True)
        if (after := hashes(disturbed)).keys() == calm.keys():
            wrong += differences(calm, after)
            shutil.rmtree(disturbed)
    took = built(place / "killed", version, *options)
    wrong += differences(calm, hashes(disturbed))
    print(f"{kills} builds were killed, then one went through in {took:.1f} s")
    print(f"{len(calm)} files compared, {len(wrong)} wrong", *wrong, sep="\n  ")
    return wrong


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
