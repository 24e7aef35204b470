"""The store: what is written is read back, and nothing that dies half-way is taken for an asset."""

import errno
import hashlib
import json
import random
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from pipeline import row_groups
from pipeline import store as store_module
from pipeline.images import encode
from pipeline.manifest import Manifest
from pipeline.rows import PICTURE, SCHEMA_VERSION, Row, hugging_face
from pipeline.store import Store, StoreError, Writer

WORD = pa.struct([("text", pa.string()), ("at", pa.list_(pa.int32()))])
SAID = pa.schema(
    [
        ("n", pa.int64()),
        ("sentence", pa.string()),
        ("words", pa.list_(WORD)),
        ("sure", pa.float64()),
    ]
)
SHOWN = pa.schema([("n", pa.int64()), ("images", pa.list_(PICTURE))])

# A process that forks writers and kills them: one command a line in, one line of JSON out.
NURSERY = '''
import json, os, random, signal, sys, time

import pyarrow as pa
from pyarrow import fs

from pipeline import row_groups, store
from pipeline.rows import PICTURE

SCHEMAS = {
    "shown": pa.schema([("n", pa.int64()), ("images", pa.list_(PICTURE))]),
    "empty": pa.schema([("n", pa.int64())]),
}
row_groups.GROUP_BYTES, store.PART_BYTES = 64 * 2**10, 512 * 2**10
pa.array([{}])  # imports what would else be imported in every fork


def write(place):
    noise = random.Random(1)
    with store.Writer(place, "asset", "address", SCHEMAS) as writer:
        for n in range(300):
            picture = {"bytes": noise.randbytes(10_000), "path": None}
            writer.append("shown", {"n": n, "images": [picture]})


class Dying(fs.LocalFileSystem):
    """A file system whose user is killed before the move that publishes."""

    def move(self, here, there):
        os.kill(os.getpid(), signal.SIGKILL)


def fork(work):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


for line in sys.stdin:
    what, root, number = json.loads(line)
    start = time.perf_counter()
    place = store.Store.at(root)
    if what == "die":
        place = store.Store(Dying(), root)
    children = [fork(lambda: write(place)) for _ in range(number if what == "race" else 1)]
    if what == "kill":
        time.sleep(number)
        os.kill(children[0], signal.SIGKILL)
    codes = [ended(child) for child in children]
    print(json.dumps([codes, time.perf_counter() - start]), flush=True)
'''


class Nursery:
    """The other end of `NURSERY`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, what: str, root: Path, number: float = 0) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([what, str(root), number]) + "\n")
        self._process.stdin.flush()

    def answered(self) -> bool:
        return bool(select.select([self._process.stdout], [], [], 0)[0])

    def answer(self) -> tuple[list[int], float]:
        """Exit codes of the writers, negative when they were killed, and seconds."""
        assert self._process.stdout is not None
        codes, seconds = json.loads(self._process.stdout.readline())
        return codes, seconds

    def run(self, what: str, root: Path, number: float = 0) -> tuple[list[int], float]:
        self.ask(what, root, number)
        return self.answer()


class Watched(fs.LocalFileSystem):  # type: ignore[misc]
    """A file system on which something happens before the move that publishes."""

    def __init__(self, event: Callable[[], object]) -> None:
        super().__init__()
        self.event, self.moves = event, 0

    def move(self, here: str, there: str) -> None:
        self.moves += 1
        self.event()
        super().move(here, there)


def full_disk() -> None:
    raise OSError(28, "No space left on device")


class InterruptError(Exception):
    pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.at(tmp_path / "data")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "GROUP_BYTES", 8_000)
    monkeypatch.setattr(store_module, "PART_BYTES", 20_000)


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    script = tmp_path_factory.mktemp("nursery") / "nursery.py"
    script.write_text(NURSERY)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, script], text=True, **pipes) as process:
        yield Nursery(process)
        process.stdin.close()


@pytest.fixture(scope="module")
def undisturbed(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, float]:
    """What the nursery's writer leaves when nothing happens to it, and how long it takes."""
    root = tmp_path_factory.mktemp("undisturbed")
    codes, seconds = nursery.run("write", root)
    assert codes == [0]
    asset = contents(root / "asset" / "address")
    assert len(asset) > 5
    return asset, seconds


def said(n: int) -> Row:
    words = [{"text": f"word {n}", "at": [n, -n]}, {"text": None, "at": None}, None]
    return {
        "n": n,
        "sentence": None if n % 5 == 0 else f"Überall {n} ✓",
        "words": None if n % 4 == 0 else words[: n % 4],
        "sure": None if n % 3 == 0 else n / 7,
    }


def shown(n: int, size: int = 1000) -> Row:
    picture = {"bytes": random.Random(n).randbytes(size), "path": None}
    return {"n": n, "images": [picture] * (n % 3)}


OLD, NEW = [shown(n) for n in range(50)], [shown(n) for n in range(50, 100)]


def write(
    store: Store, rows: list[Row], schema: pa.Schema = SAID, address: str = "address"
) -> Manifest:
    with Writer(store, "asset", address, {"rows": schema}) as writer:
        for row in rows:
            writer.append("rows", row)
    manifest = store.manifest("asset", address)
    assert manifest is not None
    return manifest


def read(store: Store, table: str = "rows", address: str = "address") -> list[Row]:
    return list(store.rows("asset", address, table))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def everything(store: Store) -> list[str]:
    """All files, and all folders on the writers' desk."""
    root = Path(store.root)
    return sorted(
        str(path.relative_to(root))
        for path in root.rglob("*")
        if path.is_file() or path.parent == root / "tmp"
    )


def flip(path: Path, at: int, bits: int = 0x55) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bits
    path.write_bytes(data)


def folder(store: Store, address: str = "address") -> Path:
    return Path(store.path("asset", address))


def only_part(store: Store, address: str = "address") -> Path:
    manifest = store.manifest("asset", address)
    assert manifest is not None
    (name,) = manifest.parts
    return folder(store, address) / name


# Writing and reading -----------------------------------------------------------------------------


def test_rows_are_read_back_in_order(store: Store) -> None:
    write(store, [said(n) for n in range(50)])
    assert read(store) == [said(n) for n in range(50)]


def test_several_tables_are_kept_apart(store: Store) -> None:
    schemas = {"said": SAID, "shown": SHOWN, "said-twice": SAID}
    with Writer(store, "asset", "address", schemas) as writer:
        for n in range(30):
            writer.append("said", said(n))
            writer.append("shown", shown(n))
            writer.append("said-twice", said(100 + n))
    assert read(store, "said") == [said(n) for n in range(30)]
    assert read(store, "shown") == [shown(n) for n in range(30)]
    assert read(store, "said-twice") == [said(100 + n) for n in range(30)]


def test_an_empty_table_has_a_part_and_no_rows(store: Store) -> None:
    manifest = write(store, [])
    assert manifest.tables == {"rows": 0}
    assert [part["rows"] for part in manifest.parts.values()] == [0]
    assert read(store) == []
    part = pq.read_table(only_part(store))
    assert part.schema.equals(SAID)


def test_columns_that_a_row_leaves_out_are_none(store: Store) -> None:
    write(store, [{"n": 1}, {}])
    nothing = dict.fromkeys(SAID.names)
    assert read(store) == [{**nothing, "n": 1}, nothing]


def test_only_the_columns_asked_for_are_read(store: Store) -> None:
    write(store, [said(n) for n in range(9)])
    some = list(store.rows("asset", "address", "rows", ["n", "sure"]))
    assert some == [{"n": n, "sure": said(n)["sure"]} for n in range(9)]


def test_rows_may_be_counted_while_they_are_written(store: Store) -> None:
    with Writer(store, "asset", "address", {"rows": SAID}) as writer:
        for n in range(7):
            assert writer.count("rows") == n
            writer.append("rows", said(n))


def test_facts_are_kept(store: Store) -> None:
    facts = {"recipe": {"seed": 7}, "note": "grün", "yield": {"kept": 0.5}}
    with Writer(store, "asset", "address", {"rows": SAID}) as writer:
        writer.facts = facts
    manifest = store.manifest("asset", "address")
    assert manifest is not None
    assert manifest.facts == facts


@pytest.mark.usefixtures("small_parts")
def test_the_manifest_agrees_with_the_files(store: Store) -> None:
    with Writer(store, "asset", "address", {"said": SAID, "shown": SHOWN}) as writer:
        for n in range(40):
            writer.append("said", said(n))
            writer.append("shown", shown(n))
    manifest = store.manifest("asset", "address")
    assert manifest is not None
    files = contents(folder(store))
    files.pop("manifest.json")
    assert set(manifest.parts) == set(files)
    for name, data in files.items():
        assert manifest.parts[name] == {
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "rows": pq.ParquetFile(pa.BufferReader(data)).metadata.num_rows,
        }
    assert manifest.tables == {"said": 40, "shown": 40}
    for table in manifest.tables:
        rows = [part["rows"] for name, part in manifest.parts.items() if name.startswith(table)]
        assert len(rows) > 1
        assert sum(rows) == 40
    assert manifest.bytes == sum(map(len, files.values()))


@pytest.mark.usefixtures("small_parts")
def test_a_table_over_the_part_size_is_cut_into_parts(store: Store) -> None:
    manifest = write(store, [shown(n) for n in range(150)], SHOWN)
    assert len(manifest.parts) > 12  # names sort as numbers do, past nine
    assert list(manifest.parts) == sorted(manifest.parts)
    assert read(store) == [shown(n) for n in range(150)]
    for part in manifest.parts.values():
        assert part["bytes"] < 60_000
        assert part["rows"] > 0


def test_a_row_group_has_at_most_so_many_rows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_groups, "GROUP_ROWS", 10)
    write(store, [said(n) for n in range(35)])
    metadata = pq.read_metadata(only_part(store))
    sizes = [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)]
    assert sizes == [10, 10, 10, 5]
    assert read(store) == [said(n) for n in range(35)]


@pytest.mark.parametrize("rows", [9, 10, 11, 20])
def test_rows_that_just_fill_a_group_or_a_part_are_all_there(
    rows: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_groups, "GROUP_ROWS", 10)
    monkeypatch.setattr(store_module, "PART_BYTES", 1)  # every group is a part
    manifest = write(store, [said(n) for n in range(rows)])
    assert len(manifest.parts) == -(-rows // 10)
    assert read(store) == [said(n) for n in range(rows)]


def test_rows_are_not_all_read_at_once(store: Store) -> None:
    write(store, [said(n) for n in range(1000)])
    rows = store.rows("asset", "address", "rows")
    assert list(islice(rows, 3)) == [said(0), said(1), said(2)]
    only_part(store).unlink()
    assert [row["n"] for row in rows] == list(range(3, 1000)), "an open part may go"


def test_a_row_group_of_pictures_is_not_held_by_who_reads_it(store: Store) -> None:
    rows = [{"n": n, "images": [{"bytes": bytes(50_000), "path": None}]} for n in range(400)]
    write(store, rows, SHOWN)
    before = pa.total_allocated_bytes()
    read = store.rows("asset", "address", "rows")
    most = max(pa.total_allocated_bytes() - before for _ in read)
    assert most < 6 * 2**20  # of 20 MB


# Same rows, same bytes ---------------------------------------------------------------------------


@pytest.mark.usefixtures("small_parts")
def test_the_same_rows_give_the_same_bytes(store: Store) -> None:
    first = write(store, [shown(n) for n in range(60)], SHOWN, "one")
    second = write(store, [shown(n) for n in range(60)], SHOWN, "two")
    assert contents(folder(store, "one")) == contents(folder(store, "two"))
    assert len(first.parts) > 1
    assert first.data_version == second.data_version


def test_the_data_version_is_of_the_rows_and_not_of_the_facts(store: Store) -> None:
    versions = {}
    for address, sure, fact in (("a", 1.0, "x"), ("b", 1.0, "y"), ("c", 2.0, "x")):
        with Writer(store, "asset", address, {"rows": SAID}) as writer:
            writer.facts = {"fact": fact}
            writer.append("rows", {**said(1), "sure": sure})
        manifest = store.manifest("asset", address)
        assert manifest is not None
        versions[address] = manifest.data_version
    assert versions["a"] == versions["b"] != versions["c"]


# Writers that fail -------------------------------------------------------------------------------


def write_and_raise(store: Store, rows: list[Row], error: BaseException) -> None:
    with Writer(store, "asset", "address", {"rows": SHOWN, "other": SAID}) as writer:
        for row in rows:
            writer.append("rows", row)
        raise error


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("error", [InterruptError(), KeyboardInterrupt()], ids=["error", "ctrl-c"])
@pytest.mark.parametrize("rows", [0, 3, 100])
def test_an_exception_in_the_block_leaves_nothing(
    rows: int, error: BaseException, store: Store
) -> None:
    with pytest.raises(type(error)):
        write_and_raise(store, [shown(n) for n in range(rows)], error)
    assert everything(store) == []
    assert store.manifest("asset", "address") is None
    assert not folder(store).exists()


@pytest.mark.usefixtures("small_parts")
def test_an_exception_in_the_block_leaves_the_asset_as_it_was(store: Store) -> None:
    write(store, [shown(n) for n in range(40)], SHOWN)
    before = contents(folder(store))
    with pytest.raises(InterruptError):
        write_and_raise(store, [shown(n) for n in range(70, 140)], InterruptError())
    assert contents(folder(store)) == before
    assert everything(store) == [f"asset/address/{name}" for name in before]


@pytest.mark.parametrize("row", [{"n": "seven"}, {"words": [{"at": ["x"]}]}, {"words": 3}])
def test_a_row_that_does_not_fit_leaves_nothing(row: Row, store: Store) -> None:
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        write(store, [said(1), row])
    assert everything(store) == []
    assert store.manifest("asset", "address") is None


def test_nothing_is_on_the_desk_after_a_writer_is_done(store: Store) -> None:
    write(store, [said(1)])
    part = only_part(store).name
    assert everything(store) == ["asset/address/manifest.json", f"asset/address/{part}"]


def test_nothing_is_visible_before_the_block_is_left(store: Store) -> None:
    with Writer(store, "asset", "address", {"rows": SAID}) as writer:
        writer.append("rows", said(1))
        assert store.manifest("asset", "address") is None
        assert not folder(store).exists()
    assert store.manifest("asset", "address") is not None


@pytest.mark.usefixtures("small_parts")
def test_a_failure_while_publishing_leaves_no_asset_and_an_empty_desk(
    store: Store,
) -> None:
    failing = Store(Watched(full_disk), store.root)
    with pytest.raises(StoreError, match="No space left"):
        write(failing, OLD, SHOWN)
    assert store.manifest("asset", "address") is None
    assert not any(name.startswith("tmp") for name in everything(store))
    write(store, OLD, SHOWN)
    assert read(store) == OLD


def test_a_desk_that_cannot_be_cleared_does_not_hide_why_the_writer_failed(store: Store) -> None:
    class Dying(fs.LocalFileSystem):  # type: ignore[misc]
        """A disk that may not be written any more once it was full."""

        def move(self, here: str, there: str) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def delete_dir(self, place: str) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

    with pytest.raises(StoreError, match=r"No space left on device.*; make room there"):
        write(Store(Dying(), store.root), OLD, SHOWN)
    assert store.manifest("asset", "address") is None


# The same address asks for the same rows, but a model that samples does not always give them.


@pytest.mark.usefixtures("small_parts")
def test_writing_other_rows_over_an_asset_leaves_one_of_them_whole(store: Store) -> None:
    write(store, OLD, SHOWN)
    write(store, NEW, SHOWN)
    assert store.damaged("asset", "address") == []
    assert read(store) in (OLD, NEW)


@pytest.mark.usefixtures("small_parts")
def test_a_failure_while_publishing_other_rows_leaves_the_asset_as_it_was(
    store: Store,
) -> None:
    write(store, OLD, SHOWN)
    with suppress(StoreError):
        write(Store(Watched(full_disk), store.root), NEW, SHOWN)
    assert store.damaged("asset", "address") == []
    assert read(store) == OLD


@pytest.mark.usefixtures("small_parts")
def test_two_writers_of_other_rows_leave_one_of_them_whole(store: Store) -> None:
    meanwhile = Watched(lambda: write(store, NEW, SHOWN))
    write(Store(meanwhile, store.root), OLD, SHOWN)
    assert meanwhile.moves == 1
    assert store.damaged("asset", "address") == []
    assert read(store) == NEW  # who was first
    assert not any(name.startswith("tmp/") for name in everything(store))


# Processes that are killed, and that race --------------------------------------------------------


def complete_or_absent(root: Path) -> bool:
    """True when the asset is there, and then all of it; in no case a part of it."""
    store = Store.at(root)
    there = store.manifest("asset", "address") is not None
    assert store.damaged("asset", "address") == []
    try:
        numbers = [row["n"] for row in store.rows("asset", "address", "shown", ["n"])]
    except StoreError as error:
        if there or "is not there" not in str(error):
            raise
        return False
    assert numbers == [*range(300)]
    return True


def test_a_killed_writer_leaves_all_or_nothing_and_the_next_one_is_undisturbed(
    nursery: Nursery, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path
) -> None:
    asset, seconds = undisturbed
    rng = random.Random(0)
    killed = 0
    for moment in range(8):
        root = tmp_path / str(moment)
        codes, _ = nursery.run("kill", root, seconds * (moment + rng.random()) / 7)
        killed += codes != [0]
        assert complete_or_absent(root) or codes != [0]
        assert nursery.run("write", root)[0] == [0]
        assert contents(root / "asset" / "address") == asset
    assert killed > 1, "the writers were done before they were killed"


def test_a_writer_killed_before_it_publishes_leaves_nothing_to_read(
    nursery: Nursery, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path
) -> None:
    asset, _ = undisturbed
    assert nursery.run("die", tmp_path)[0] == [-9]
    assert not complete_or_absent(tmp_path)
    assert nursery.run("write", tmp_path)[0] == [0]
    assert contents(tmp_path / "asset" / "address") == asset


def test_a_writer_killed_over_the_same_rows_leaves_them_complete(
    nursery: Nursery, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path
) -> None:
    asset, _ = undisturbed
    assert nursery.run("write", tmp_path)[0] == [0]
    assert nursery.run("die", tmp_path)[0] == [-9]
    assert complete_or_absent(tmp_path)
    assert contents(tmp_path / "asset" / "address") == asset


def test_two_writers_at_once_disturb_neither_each_other_nor_a_reader(
    nursery: Nursery, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path
) -> None:
    asset, _ = undisturbed
    seen: list[bool] = []
    for race in range(20):
        root = tmp_path / str((race + 1) // 2)  # every second time over an asset that is there
        nursery.ask("race", root, 2)
        while not nursery.answered():
            seen.append(complete_or_absent(root))
            time.sleep(0.002)
        assert nursery.answer()[0] == [0, 0]
        assert complete_or_absent(root)
        assert contents(root / "asset" / "address") == asset
        assert list((root / "tmp").iterdir()) == []
        if race >= 2 and set(seen) == {True, False}:
            return
    raise AssertionError("the reader always looked too late, or too early")


# Damage ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_parts")
def test_whole_parts_are_not_listed_as_damaged(store: Store) -> None:
    write(store, [shown(n) for n in range(60)], SHOWN)
    assert store.damaged("asset", "address") == []
    assert store.damaged("asset", "nowhere") == []


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("where", [0, 0.5, 0.99, 1])
def test_a_flipped_byte_is_listed_as_damage(where: float, store: Store) -> None:
    manifest = write(store, [shown(n) for n in range(60)], SHOWN)
    victim = list(manifest.parts)[1]
    path = folder(store) / victim
    flip(path, int(where * (path.stat().st_size - 1)), bits=1)
    assert store.damaged("asset", "address") == [victim]


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("left", [0, 1, 0.5, -1])
def test_a_part_cut_short_is_listed_and_not_read(left: float, store: Store) -> None:
    manifest = write(store, [shown(n) for n in range(60)], SHOWN)
    victim = list(manifest.parts)[1]
    path = folder(store) / victim
    data = path.read_bytes()
    path.write_bytes(data[: int(left * len(data)) if left == 0.5 else int(left)])
    assert store.damaged("asset", "address") == [victim]
    with pytest.raises(StoreError) as caught:
        read(store)
    assert str(path) in str(caught.value)
    assert "build it again" in str(caught.value)


@pytest.mark.usefixtures("small_parts")
def test_a_missing_part_is_listed_and_named_with_the_remedy(store: Store) -> None:
    manifest = write(store, [shown(n) for n in range(60)], SHOWN)
    victim = list(manifest.parts)[2]
    (folder(store) / victim).unlink()
    assert store.damaged("asset", "address") == [victim]
    rows = store.rows("asset", "address", "rows")
    with pytest.raises(StoreError) as caught:
        list(rows)
    assert str(folder(store) / victim) in str(caught.value)
    assert "delete its folder and build it again" in str(caught.value)


def test_every_damaged_part_is_listed(store: Store, small_parts: None) -> None:
    manifest = write(store, [shown(n) for n in range(60)], SHOWN)
    names = list(manifest.parts)
    (folder(store) / names[0]).unlink()
    flip(folder(store) / names[-1], 100)
    assert sorted(store.damaged("asset", "address")) == [names[0], names[-1]]


def test_a_flipped_byte_in_a_picture_is_not_read_as_a_picture(store: Store) -> None:
    write(store, [shown(n) for n in range(9)], SHOWN)
    path = only_part(store)
    flip(path, path.read_bytes().index(shown(2)["images"][0]["bytes"][400:500]))
    with pytest.raises(StoreError, match="build it again"):
        read(store)


def test_a_flipped_byte_anywhere_raises_nothing_but_a_store_error(store: Store) -> None:
    write(store, [said(n) for n in range(20)])
    path = only_part(store)
    whole = path.read_bytes()
    name = whole.rindex(b"sentence", 0, whole.rindex(b"ARROW:schema"))
    rng = random.Random(0)
    flips = [(rng.randrange(len(whole)), rng.randrange(1, 256)) for _ in range(300)]
    refusals = []
    for at, bits in ((name, 0x80), *flips):
        path.write_bytes(whole)
        flip(path, at, bits)
        try:
            read(store)
        except StoreError as error:  # not every flip is seen
            refusals.append(str(error))
    assert refusals
    assert all(str(path) in refusal for refusal in refusals)


def test_an_asset_that_was_never_built_is_named_with_the_remedy(store: Store) -> None:
    with pytest.raises(StoreError, match="build asset first") as caught:
        read(store, address="never")
    assert store.path("asset", "never") in str(caught.value)
    assert store.manifest("asset", "never") is None


def test_a_manifest_of_another_schema_version_is_refused(store: Store) -> None:
    write(store, [said(1)])
    path = folder(store) / "manifest.json"
    content = json.loads(path.read_text())
    assert content["schema_version"] == SCHEMA_VERSION
    path.write_text(json.dumps(content | {"schema_version": SCHEMA_VERSION + 1}))
    for look in (lambda: store.manifest("asset", "address"), lambda: read(store)):
        with pytest.raises(StoreError) as caught:
            look()
        assert str(folder(store)) in str(caught.value)
        assert f"version {SCHEMA_VERSION + 1}" in str(caught.value)
        assert "build it again" in str(caught.value)


@pytest.mark.parametrize(
    "broken",
    [b"", b'{"schema_version": 1, "tab', b"[]", b"{}", b"\xff\xfe", b'{"schema_version": 1}'],
    ids=["empty", "cut", "list", "no version", "not text", "no tables"],
)
def test_a_manifest_that_is_none_is_named_with_the_remedy(broken: bytes, store: Store) -> None:
    write(store, [said(1)])
    (folder(store) / "manifest.json").write_bytes(broken)
    with pytest.raises(StoreError, match="build it again") as caught:
        store.manifest("asset", "address")
    assert str(folder(store)) in str(caught.value)


# Places ------------------------------------------------------------------------------------------


def test_a_file_uri_is_the_path_it_names(tmp_path: Path) -> None:
    by_uri, by_path = Store.at((tmp_path / "data").as_uri()), Store.at(tmp_path / "data")
    assert by_uri.root == by_path.root == str(tmp_path / "data")
    write(by_uri, [said(n) for n in range(9)])
    assert read(by_path) == [said(n) for n in range(9)]
    write(by_path, [said(1)], address="other")
    assert read(by_uri, address="other") == [said(1)]


def test_any_file_system_gives_the_same_bytes(tmp_path: Path, store: Store) -> None:
    handler = fs.FSSpecHandler(fsspec.filesystem("file"))
    foreign = Store(fs.PyFileSystem(handler), str(tmp_path / "foreign"))
    write(foreign, [shown(n) for n in range(20)], SHOWN)
    write(store, [shown(n) for n in range(20)], SHOWN)
    assert contents(folder(foreign)) == contents(folder(store))
    assert read(foreign) == [shown(n) for n in range(20)]
    assert foreign.manifest("asset", "never") is None
    part = only_part(foreign)
    part.unlink()
    assert foreign.damaged("asset", "address") == [part.name]


def test_the_store_is_where_the_environment_says_else_in_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DRAWLOOP_DATA", raising=False)
    assert Store.at().root == str(tmp_path / "data")
    monkeypatch.setenv("DRAWLOOP_DATA", str(tmp_path / "elsewhere"))
    assert Store.at().root == str(tmp_path / "elsewhere")
    assert Store.at("here").root == str(tmp_path / "here")
    monkeypatch.setenv("DRAWLOOP_DATA", (tmp_path / "by uri").as_uri().replace("%20", " "))
    assert Store.at(tmp_path).root == str(tmp_path)


def test_a_store_outlives_a_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = Store.at("data")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    write(here, [said(1)])
    assert (tmp_path / "data" / "asset" / "address" / "manifest.json").is_file()


# Parquet for hubs --------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_parts")
def test_parts_have_a_page_index_and_pictures_are_stored_as_they_are(store: Store) -> None:
    schema = pa.schema([*SAID, SHOWN.field("images")])
    manifest = write(store, [said(n) | {"images": shown(n)["images"]} for n in range(40)], schema)
    leaves = set()
    for name in manifest.parts:
        metadata = pq.read_metadata(folder(store) / name)
        for group in range(metadata.num_row_groups):
            for number in range(metadata.num_columns):
                column = metadata.row_group(group).column(number)
                leaves.add(column.path_in_schema)
                assert column.has_column_index, column.path_in_schema
                assert column.has_offset_index, column.path_in_schema
                if column.path_in_schema == "images.list.element.bytes":
                    assert column.compression == "UNCOMPRESSED"
                    assert set(column.encodings) <= {"PLAIN", "RLE"}  # RLE is of the levels
                    assert not column.has_dictionary_page
                else:
                    assert column.compression == "ZSTD", column.path_in_schema
    assert {"images.list.element.bytes", "images.list.element.path", "n"} <= leaves
    assert "words.list.element.at.list.element" in leaves


def test_a_picture_s_bytes_lie_in_the_file_as_they_are(store: Store) -> None:
    image = encode(np.arange(28 * 28 * 3, dtype=np.uint8).reshape(28, 28, 3))
    write(store, [{"n": 1, "images": [{"bytes": image.png, "path": None}]}], SHOWN)
    assert image.png in only_part(store).read_bytes()


def test_a_new_row_leaves_most_bytes_after_it_as_they_were(store: Store) -> None:
    """What content-defined chunks are for: a hub takes in only what is new."""
    rows = [{"n": n, "sentence": random.Random(n).randbytes(2000).hex()} for n in range(800)]
    write(store, rows, address="before")
    write(store, [{"n": -1, "sentence": "new"}, *rows], address="after")
    before, after = (only_part(store, address).read_bytes() for address in ("before", "after"))
    windows = [before[at : at + 64] for at in range(0, len(before) - 64, 16_384)]
    assert sum(window in after for window in windows) > len(windows) / 2


def test_hugging_face_datasets_show_the_images(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    pixels = [np.full((28, 28, 3), shade, dtype=np.uint8) for shade in (0, 99, 255)]
    pictures = [{"bytes": encode(p).png, "path": None} for p in pixels]
    rows = [{"n": n, "images": pictures[:n]} for n in range(4)]
    manifest = write(store, rows, hugging_face(SHOWN))
    made = datasets.load_dataset(
        "parquet",
        data_files=[str(folder(store) / name) for name in manifest.parts],
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert made["n"][:] == [0, 1, 2, 3]
    assert isinstance(made.features["images"].feature, datasets.Image)
    for n, row in enumerate(made):
        assert len(row["images"]) == n
        for shown_, true in zip(row["images"], pixels, strict=False):
            assert np.array_equal(np.asarray(shown_), true)


def test_the_metadata_for_hugging_face_changes_no_row(store: Store) -> None:
    write(store, [shown(n) for n in range(9)], hugging_face(SHOWN))
    assert read(store) == [shown(n) for n in range(9)]


# Files beside tables -----------------------------------------------------------------------------


def with_files(store: Store, folder: Path) -> Manifest:
    """An asset with one table and two whole files."""
    folder.mkdir(exist_ok=True)
    (folder / "weights").write_bytes(b"0123456789" * 1000)
    (folder / "notes").write_bytes(b"short")
    with Writer(store, "asset", "address", {"table": pa.schema([("n", pa.int64())])}) as writer:
        writer.append("table", {"n": 1})
        writer.add("model/inner/weights.safetensors", folder / "weights")
        writer.add("notes.txt", folder / "notes")
    manifest = store.manifest("asset", "address")
    assert manifest is not None
    return manifest


def test_whole_files_lie_beside_tables_and_are_parts_as_those_are(tmp_path: Path) -> None:
    store = Store.at(tmp_path / "data")
    manifest = with_files(store, tmp_path / "made")
    name = "model/inner/weights.safetensors"
    assert manifest.parts[name] == {
        "sha256": hashlib.sha256(b"0123456789" * 1000).hexdigest(), "bytes": 10_000, "rows": 0,
    }  # fmt: skip
    assert manifest.bytes > 10_005
    assert [row["n"] for row in store.rows("asset", "address", "table")] == [1]
    path = tmp_path / "data" / "asset" / "address" / name
    assert path.read_bytes() == b"0123456789" * 1000
    assert store.incomplete("asset", "address") == store.damaged("asset", "address") == []
    path.write_bytes(b"0123456789" * 999 + b"012345678?")
    assert store.incomplete("asset", "address") == []
    assert store.damaged("asset", "address") == [name]
    path.unlink()
    assert store.incomplete("asset", "address") == store.damaged("asset", "address") == [name]


def test_another_file_makes_another_data_version(tmp_path: Path) -> None:
    one = with_files(Store.at(tmp_path / "one"), tmp_path / "made")
    same = with_files(Store.at(tmp_path / "same"), tmp_path / "made")
    assert one.data_version == same.data_version
    store = Store.at(tmp_path / "other")
    with Writer(store, "asset", "address", {"table": pa.schema([("n", pa.int64())])}) as writer:
        writer.append("table", {"n": 1})
        writer.add("notes.txt", tmp_path / "made" / "notes")
    other = store.manifest("asset", "address")
    assert other is not None
    assert other.data_version != one.data_version


def test_a_local_store_is_read_where_it_lies_and_another_is_copied_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = Store.at(tmp_path / "data")
    with_files(local, tmp_path / "made")
    assert local.local("asset", "address") == tmp_path / "data" / "asset" / "address"

    monkeypatch.setenv("DRAWLOOP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bucket").mkdir()
    remote = Store(fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem()), "root")
    manifest = with_files(remote, tmp_path / "made")
    folder = remote.local("asset", "address")
    assert folder == tmp_path / "cache" / "asset" / "address"
    for name, part in manifest.parts.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == part["sha256"]
    (folder / "mark").touch()
    assert (remote.local("asset", "address") / "mark").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["address"]
    with pytest.raises(StoreError, match="is not there: build other first"):
        remote.local("other", "address")
