"""Rows in the form of Hugging Face: files, folders of datasets, features and paths."""

from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.imports import SourceError
from pipeline.sources import tables
from pipeline.types import Kind, Modality
from pipeline.versions import Version
from tests.sources.conftest import ORIGIN, asked, lines, made, only, picture, pixels, reasons

COLUMNS = {"pictures": ["image"], "marks": "marks"}


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf" / "datasets"))


def of(path: str, **more: Any) -> Version:
    return asked({"mine": {"kind": "huggingface", "path": path, **ORIGIN, **more}})


def rows(count: int) -> dict[str, list[Any]]:
    return {
        "image": [{"bytes": pixels(n), "path": None} for n in range(count)],
        "question": [f"How many, {n}?" for n in range(count)],
        "answer": [str(n) for n in range(count)],
    }


def all_of(version: Version) -> list[Any]:
    kept, dropped = made(version)
    assert not dropped, dropped
    return sorted((p for ps in kept.values() for p in ps), key=lambda p: p.id[-6:])


def dataset(count: int) -> datasets.Dataset:
    data = datasets.Dataset.from_dict(rows(count))
    return data.cast_column("image", datasets.Image())


def test_parquet_with_pictures_in_it_is_read_from_its_file(folder: Path) -> None:
    dataset(5).to_parquet(folder / "train.parquet")
    problems = all_of(of("mine/train.parquet"))
    assert [p.answer for p in problems] == ["0", "1", "2", "3", "4"]
    assert [p.kind for p in problems] == [Kind.NUMBER] * 5


def test_a_folder_of_parquet_is_streamed_by_datasets_and_says_the_same(folder: Path) -> None:
    dataset(5).to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    dataset(2).to_parquet(folder / "data" / "test-00000-of-00001.parquet")
    streamed = all_of(of("mine"))
    alone = all_of(of("mine/data/train-00000-of-00001.parquet"))
    assert [p.images for p in streamed] == [p.images for p in alone]
    assert len(all_of(of("mine", split="test"))) == 2
    with pytest.raises(SourceError, match="validation"):
        made(of("mine", split="validation"))


def test_a_dataset_saved_to_disk_is_read(folder: Path) -> None:
    dataset(3).save_to_disk(str(folder / "one"))
    datasets.DatasetDict({"train": dataset(4)}).save_to_disk(str(folder / "several"))
    assert len(all_of(of("mine/one"))) == 3
    assert len(all_of(of("mine/several"))) == 4


def test_a_folder_of_pictures_with_metadata_is_read_by_paths_within_it(folder: Path) -> None:
    names = [picture(folder / "train" / f"{n}.png", n) for n in range(3)]
    lines(
        folder / "train" / "metadata.jsonl",
        [{"file_name": name, "question": f"How many in {name}?", "answer": "2"} for name in names],
    )
    assert len(all_of(of("mine"))) == 3


def test_a_file_of_json_lines_has_no_folder_and_its_paths_are_refused(folder: Path) -> None:
    picture(folder / "a.png", 1)
    lines(folder / "rows.jsonl", [{"image": "a.png", "question": "How many?", "answer": 2}])
    assert reasons(of("mine/rows.jsonl")) == ["picture_outside"]
    assert only(of("mine")).answer == "2"


def test_lists_and_structs_of_pictures_and_a_column_of_types_are_mapped(folder: Path) -> None:
    table = {
        "views": [[pixels(1), pixels(2)], [pixels(3)], []],
        "front": [{"bytes": pixels(4), "path": "x.png"}, None, None],
        "frage": ["Which?", "Which?", "Which?"],
        "choices": [["cat", "dog"], ["A. cat", "B. dog"], ["cat", "dog"]],
        "label": [1, 0, 0],
        "boxes": [[{"label": "dog", "box": [1.0, 1.0, 90.0, 90.0], "picture": 3}], [], []],
    }
    pq.write_table(pa.table(table), folder / "rows.parquet")
    columns = {
        "pictures": ["views", "front"], "question": "frage", "options": "choices", "answer": "label",
        "marks": "boxes",
    }  # fmt: skip
    kept, dropped = made(of("mine/rows.parquet", columns=columns, answers="index"))
    first, second = sorted((p for ps in kept.values() for p in ps), key=lambda p: p.id[-6:])
    assert (first.modality, len(first.images), first.answer) == (Modality.VIEWS, 3, "B")
    assert first.gold[0].ops[0].k == 3
    assert (second.options, second.answer) == (("cat", "dog"), "A")
    assert set(dropped.values()) == {"no_picture"}


def test_a_schema_that_lies_costs_rows_and_not_the_import(folder: Path) -> None:
    table = {
        "image": [[[1.5]], [[2.5]]],
        "question": [{"a": 1}, {"a": 2}],
        "answer": [["x"], ["y"]],
    }
    pq.write_table(pa.table(table), folder / "rows.parquet")
    assert reasons(of("mine/rows.parquet")) == ["not_text", "not_text"]
    table = {"image": [b"no picture", b""], "question": ["a?", "b?"], "answer": [1, 2]}  # type: ignore[list-item]
    pq.write_table(pa.table(table), folder / "rows.parquet")
    assert reasons(of("mine/rows.parquet")) == ["picture_not_a_picture", "picture_empty"]
    table = {"image": [True], "question": [True], "answer": [None]}  # type: ignore[list-item]
    pq.write_table(pa.table(table), folder / "rows.parquet")
    assert reasons(of("mine/rows.parquet")) == ["not_text"]


def test_a_schema_of_times_and_maps_beyond_python_is_refused_with_the_file(folder: Path) -> None:
    far = pa.array([2**62], pa.timestamp("us"))
    columns = {"image": [pixels(1)], "question": far, "answer": ["1"]}
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    with pytest.raises(SourceError, match=r"rows\.parquet is damaged or no parquet"):
        made(of("mine/rows.parquet"))


@pytest.mark.parametrize("cut", [0, 7, 100, -9])
def test_a_cut_parquet_is_refused_with_the_file(folder: Path, cut: int) -> None:
    dataset(5).to_parquet(folder / "train.parquet")
    data = (folder / "train.parquet").read_bytes()
    (folder / "train.parquet").write_bytes(data[:cut])
    with pytest.raises(SourceError, match=r"train\.parquet is damaged"):
        made(of("mine/train.parquet"))
    with pytest.raises(SourceError, match="cannot load"):
        made(of("mine"))


def test_a_mapping_to_nothing_names_the_columns_of_parquet_and_of_a_dataset(folder: Path) -> None:
    dataset(2).to_parquet(folder / "train.parquet")
    for place in ("mine/train.parquet", "mine"):
        with pytest.raises(
            SourceError, match=r"no column 'bild'; it has 'image', 'question', 'answer'"
        ):
            made(of(place, columns={"pictures": ["bild"]}))


def test_the_revision_decides_what_a_hub_holds(folder: Path) -> None:
    def hub(revision: str) -> Any:
        more = {"kind": "huggingface", "hub": "someone/something", "revision": revision, **ORIGIN}
        return asked({"mine": more}).problems.imports["mine"].recipe()

    assert hub("a" * 40) != hub("b" * 40)
    assert hub("a" * 40)["sha256"] == f"someone/something@{'a' * 40}"


def test_a_parquet_of_pictures_is_read_a_little_at_a_time(folder: Path) -> None:
    file = folder / "rows.parquet"
    pictures = pa.table({"image": [bytes([n]) * 50_000 for n in range(200)] * 4})
    pq.write_table(pictures, file, row_group_size=400, use_dictionary=False, compression="none",
                   write_batch_size=8)  # fmt: skip  # pages of 1 MB: one is read whole
    del pictures
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() - before for _ in tables.table(file))
    assert most < 6 * 2**20  # of 40 MB


def test_fields_that_parquet_fills_with_nothing_are_no_fields_of_a_mark(folder: Path) -> None:
    marks = [
        {
            "label": "dog",
            "box": [1.0, 1.0, 90.0, 90.0],
            "line": None,
            "picture": None,
            "asked": None,
        },
        {"label": "way", "box": None, "line": [5.0, 5.0, 80.0, 70.0], "picture": 1, "asked": True},
    ]
    table = pa.table({**{name: cells[:1] for name, cells in rows(1).items()}, "marks": [marks]})
    pq.write_table(table, folder / "rows.parquet")
    problem = only(of("mine/rows.parquet"))
    assert [op.label for op in problem.gold[0].ops] == ["dog", "way"]


def test_rows_of_json_tell_their_columns_when_they_are_streamed(folder: Path) -> None:
    picture(folder / "0.png", 0)
    lines(folder / "train.jsonl", [{"image": "0.png", "question": "How many?", "answer": "2"}])
    assert only(of("mine")).answer == "2"
    with pytest.raises(
        SourceError, match=r"no column 'bild'; it has 'image', 'question', 'answer'"
    ):
        made(of("mine", columns={"pictures": ["bild"]}))
    (folder / "train.jsonl").write_text("")
    assert made(of("mine")) == ({}, {})


def test_a_folder_with_a_link_that_leads_out_is_refused_with_the_link(folder: Path) -> None:
    dataset(2).to_parquet(folder.parent / "elsewhere" / "train.parquet")
    (folder / "train.parquet").symlink_to(folder.parent / "elsewhere" / "train.parquet")
    with pytest.raises(
        SourceError, match=r"train\.parquet leads out of .*: put there what it leads to"
    ):
        made(of("mine"))
    (folder / "train.parquet").unlink()
    (folder / "data").symlink_to(folder.parent / "elsewhere")
    with pytest.raises(SourceError, match="data leads out of"):
        made(of("mine"))
    (folder / "data").unlink()
    dataset(2).to_parquet(folder / "parts" / "a.parquet")
    (folder / "train.parquet").symlink_to("parts/a.parquet")
    assert made(of("mine"))[0]  # within the folder it may lead anywhere
