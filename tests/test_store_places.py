"""Disks that are full, or may not be written: real ones, in a namespace of their own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.store import Store, StoreError
from tests.test_store import said, write

# Runs where its first argument is a disk of a megabyte; says as JSON what came of each write.
SCRIPT = '''
import json, random, subprocess, sys
from pathlib import Path

import pyarrow as pa

from pipeline import row_groups, store
from pipeline.rows import PICTURE

SCHEMA = pa.schema([("n", pa.int64()), ("images", pa.list_(PICTURE))])
row_groups.GROUP_BYTES, store.PART_BYTES = 32 * 2**10, 128 * 2**10
disk = Path(sys.argv[1])


def write(address="address", rows=30):
    noise = random.Random(1)
    with store.Writer(store.Store.at(disk / "data"), "asset", address, {"rows": SCHEMA}) as writer:
        for n in range(rows):
            picture = {"bytes": noise.randbytes(10_000), "path": None}
            writer.append("rows", {"n": n, "images": [picture]})
        writer.add("notes/of/it.txt", disk / "notes")


def outcome(rows=30):
    """What the writer said, and what there is: files, and whether the asset is whole."""
    place = store.Store.at(disk / "data")
    try:
        write(rows=rows)
        said = None
    except store.StoreError as error:
        said = str(error)
    left = sorted(str(p.relative_to(disk)) for p in (disk / "data").rglob("*") if p.is_file())
    manifest = place.manifest("asset", "address")
    whole = manifest is not None and not place.damaged("asset", "address")
    return {"said": said, "left": left, "whole": whole, "there": manifest is not None}


def full(room, rows=30):
    """Leaves so many kilobytes on the disk, and writes."""
    (disk / "filler").write_bytes(bytes(1024 * (1024 - 4 * 12 - room)))
    told = outcome(rows)
    (disk / "filler").unlink()
    return told


(disk / "notes").write_bytes(b"note " * 4000)
row_groups.GROUP_BYTES = 32 * 2**20
told = {"within a column": [full(room, rows=300) for room in (0, 200, 900)]}  # a group of 3 MB
row_groups.GROUP_BYTES = 32 * 2**10
told["full"] = [full(room) for room in range(0, 400, 12)]
told["after"] = outcome()
subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
try:
    write("other")
    told["read only"] = None
except store.StoreError as error:
    told["read only"] = str(error)
place = store.Store.at(disk / "data")
told["rows"] = sum(1 for _ in place.rows("asset", "address", "rows"))
told["damaged"] = place.damaged("asset", "address")
print(json.dumps(told))
'''
ALONE = ("unshare", "--map-root-user", "--mount")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of writing to a small disk, again and again."""
    folder = tmp_path_factory.mktemp("disk")
    mount = f"mount -t tmpfs -o size=1m tmpfs {folder}"
    try:
        able = subprocess.run([*ALONE, "sh", "-c", mount], check=False, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if able.returncode:
        pytest.skip("no disk can be mounted here")
    done = subprocess.run(
        [*ALONE, "sh", "-c", f'{mount} && exec "$@"', "-", sys.executable, "-c", SCRIPT, folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_writer_on_a_full_disk_says_where_and_what_to_do(told: dict[str, Any]) -> None:
    refused = [outcome["said"] for outcome in told["full"] if outcome["said"]]
    assert 10 < len(refused) < len(told["full"])
    for message in refused:
        assert "/data/asset/address cannot be written" in message
        assert "No space left on device" in message
        assert (
            "make room there, make it writable, or name another place in DRAWLOOP_DATA" in message
        )


def test_a_full_disk_leaves_the_asset_whole_or_absent(told: dict[str, Any]) -> None:
    written = False
    for outcome in told["full"]:
        written = written or outcome["said"] is None
        assert outcome["whole"] == outcome["there"] == written
        assert not any(name.startswith("data/tmp/") for name in outcome["left"])
        assert bool(outcome["left"]) == written


def test_a_disk_that_fills_within_a_column_does_not_end_the_process(told: dict[str, Any]) -> None:
    """Where a column is cut by its contents, Arrow aborts when a page cannot be written."""
    for outcome in told["within a column"]:
        assert "No space left on device" in outcome["said"]
        assert "make room there" in outcome["said"]
        assert outcome["left"] == []


def test_once_there_is_room_the_next_writer_is_undisturbed(told: dict[str, Any]) -> None:
    assert told["after"]["said"] is None
    assert told["after"]["whole"]


def test_a_disk_that_may_not_be_written_is_read_and_named(told: dict[str, Any]) -> None:
    assert "/data/asset/other cannot be written" in told["read only"]
    assert "make it writable" in told["read only"]
    assert told["rows"] == 30
    assert told["damaged"] == []


def test_a_store_below_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    store = Store.at(tmp_path / "data")
    with pytest.raises(StoreError, match=r"data/asset/address cannot be written: .*DRAWLOOP_DATA"):
        write(store, [said(1)])
    with pytest.raises(StoreError, match=r"manifest.json cannot be read: .*make it readable"):
        store.manifest("asset", "address")
