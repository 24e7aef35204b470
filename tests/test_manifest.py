"""A manifest that lies: whatever it claims, the store says which file is wrong and what to do."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from pipeline.manifest import CARD, Manifest
from pipeline.store import Store, StoreError, Writer
from tests.test_store import SAID, SHOWN, folder, only_part, read, said, shown, write

PART = "rows-00000.parquet"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with one asset of nine rows."""
    store = Store.at(tmp_path / "data")
    write(store, [said(n) for n in range(9)])
    return store


def change(store: Store, **claims: Any) -> None:
    """The manifest, with other claims about itself."""
    path = folder(store) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | claims))


def part(store: Store, **claims: Any) -> dict[str, Any]:
    """What the manifest says of its part, with other claims."""
    content = json.loads((folder(store) / "manifest.json").read_text())
    return {**content["parts"][PART], **claims}


def refused(store: Store) -> str:
    """What every way in says of a manifest that is none."""
    said = set()
    for look in (
        lambda: store.manifest("asset", "address"), lambda: read(store),
        lambda: store.damaged("asset", "address"), lambda: store.incomplete("asset", "address"),
        lambda: store.local("asset", "address"),
    ):  # fmt: skip
        try:
            look()
        except StoreError as error:
            said.add(str(error))
    (message,) = said
    assert str(folder(store) / "manifest.json") in message
    assert "delete its folder and build it again" in message
    return message


@pytest.mark.parametrize(
    "name",
    ["../other/rows-00000.parquet", "/etc/passwd", "a/../../b", "..", "", "a//b", "./a", "a\\b",
     "a\0b", "manifest.json"],
)  # fmt: skip
def test_a_part_that_does_not_lie_in_its_folder_is_refused(name: str, store: Store) -> None:
    change(store, parts={PART: part(store), name: part(store, rows=0)})
    assert "is no part of a folder" in refused(store)


def test_nothing_is_copied_out_of_a_cache_by_a_part_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAWLOOP_CACHE", str(tmp_path / "cache"))
    bucket = Store.at(tmp_path / "bucket")
    write(bucket, [said(1)])
    remote = Store(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "bucket")
    change(bucket, parts={PART: part(bucket), "../../../planted": part(bucket, rows=0)})
    with pytest.raises(StoreError, match="is no part of a folder"):
        remote.local("asset", "address")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "claims",
    [
        {"sha256": "0" * 63}, {"sha256": None}, {"sha256": "x" * 64}, {"bytes": -1},
        {"bytes": "many"}, {"bytes": None}, {"rows": -1}, {"rows": None}, {"rows": [9]},
        {"bytes": float("inf")}, {"bytes": float("nan")}, {"bytes": True}, {"rows": 9.0},
    ],
    ids=str,
)  # fmt: skip
def test_a_part_without_a_hash_or_a_size_is_refused(claims: dict[str, Any], store: Store) -> None:
    change(store, parts={PART: part(store, **claims)})
    refused(store)


@pytest.mark.parametrize("name", ["tables", "parts", "facts", "schemas"])
@pytest.mark.parametrize("value", [None, [], "text", 7, {"rows": None}, {"other": 1}], ids=str)
def test_a_manifest_of_another_shape_is_refused(name: str, value: object, store: Store) -> None:
    if name == "facts" and isinstance(value, dict):
        return  # facts may be anything by name
    change(store, **{name: value})
    refused(store)


def test_rows_that_do_not_add_up_are_refused(store: Store) -> None:
    change(store, tables={"rows": 10})
    assert "its parts have other rows than its tables" in refused(store)
    change(store, tables={"rows": 9, "more": 1})
    refused(store)


def test_a_table_that_the_manifest_leaves_out_is_not_taken_for_an_empty_one(store: Store) -> None:
    change(store, tables={}, parts={})
    with pytest.raises(StoreError, match="has no table 'rows'; delete its folder"):
        read(store)


def test_a_manifest_nested_without_end_is_refused(store: Store) -> None:
    (folder(store) / "manifest.json").write_text("[" * 100_000)
    refused(store)


def test_a_folder_in_the_place_of_the_manifest_is_named(store: Store) -> None:
    (folder(store) / "manifest.json").unlink()
    (folder(store) / "manifest.json").mkdir()
    with pytest.raises(StoreError, match=r"manifest\.json cannot be read"):
        store.manifest("asset", "address")


def test_a_part_that_holds_other_rows_than_the_manifest_says_is_not_read(store: Store) -> None:
    change(store, tables={"rows": 8}, parts={PART: part(store, rows=8)})
    with pytest.raises(StoreError, match="it has 9 rows, not 8; delete its folder") as caught:
        read(store)
    assert str(only_part(store)) in str(caught.value)


def test_a_part_of_another_schema_is_not_read(store: Store) -> None:
    write(store, [shown(n) for n in range(9)], SHOWN, "other")
    only_part(store).write_bytes(only_part(store, "other").read_bytes())
    with pytest.raises(StoreError, match=r"it has the columns \['n', 'images'\], not \['n', 'sen"):
        read(store)
    with pytest.raises(StoreError, match="it has the columns"):
        list(store.rows("asset", "address", "rows", ["n"]))


def test_a_wrong_size_or_hash_is_listed(store: Store) -> None:
    size = part(store)["bytes"]
    change(store, parts={PART: part(store, bytes=size + 1)})
    assert store.incomplete("asset", "address") == [PART]
    change(store, parts={PART: part(store, bytes=size, sha256="0" * 64)})
    assert store.incomplete("asset", "address") == []
    assert store.damaged("asset", "address") == [PART]


def test_a_part_of_an_object_store_that_is_cut_is_not_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAWLOOP_CACHE", str(tmp_path / "cache"))
    bucket = Store.at(tmp_path / "bucket")
    write(bucket, [said(n) for n in range(9)])
    remote = Store(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "bucket")
    whole = only_part(bucket).read_bytes()
    only_part(bucket).write_bytes(whole[:-9])
    with pytest.raises(StoreError, match=f"{PART} has another hash than its manifest says; delete"):
        remote.local("asset", "address")
    only_part(bucket).unlink()
    with pytest.raises(StoreError, match=f"{PART} cannot be read.*build it again"):
        remote.local("asset", "address")
    assert list((tmp_path / "cache" / "asset").iterdir()) == [], "half a copy was left"
    only_part(bucket).write_bytes(whole)
    assert (remote.local("asset", "address") / PART).read_bytes() == whole


def test_a_byte_changed_anywhere_in_a_manifest_raises_nothing_but_a_store_error(
    store: Store,
) -> None:
    path = folder(store) / "manifest.json"
    whole, rng = path.read_bytes(), random.Random(0)
    refusals = []
    for _ in range(400):
        broken = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3))):
            broken[rng.randrange(len(broken))] = rng.choice(b'0"{}[],:-x\\\xff\0')
        path.write_bytes(broken)
        try:
            read(store)
            store.damaged("asset", "address")
            store.incomplete("asset", "address")
        except StoreError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert all(str(folder(store)) in refusal for refusal in refusals)


def test_what_a_schema_says_on_top_are_its_columns(store: Store) -> None:
    manifest = store.manifest("asset", "address")
    assert isinstance(manifest, Manifest)
    assert manifest.columns == {"rows": SAID.names}


def test_a_card_is_a_file_like_others_and_no_part_of_the_data_version(tmp_path: Path) -> None:
    plain = Store.at(tmp_path / "plain")
    bare = write(plain, [said(n) for n in range(9)])
    (tmp_path / "card").write_text("about them")
    store = Store.at(tmp_path / "carded")
    with Writer(store, "asset", "address", {"rows": SAID}) as writer:
        for n in range(9):
            writer.append("rows", said(n))
        writer.add(CARD, tmp_path / "card")
    carded = store.manifest("asset", "address")
    assert carded is not None
    assert CARD in carded.parts
    assert carded.data_version == bare.data_version
    assert read(store) == read(plain)
    (folder(store) / CARD).write_text("about THEM")
    assert store.damaged("asset", "address") == [CARD]
