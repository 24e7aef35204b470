"""Evaluation sets from elsewhere: what is read, what is refused and why, and that nothing leads out."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from pipeline import external
from pipeline.external import Asked, Columns, ExternalError, Unread, asked
from pipeline.images import PictureError, Pixels, within


def picture(seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3)).astype(np.uint8)


def png(seed: int = 0) -> bytes:
    data = io.BytesIO()
    Pillow.fromarray(picture(seed)).save(data, "PNG")
    return data.getvalue()


def lines(folder: Path, *rows: Any, name: str = "set.jsonl") -> Path:
    """A file of JSON lines beside two pictures, a.png and deep/b.png."""
    (folder / "deep").mkdir(parents=True, exist_ok=True)
    (folder / "a.png").write_bytes(png(0))
    (folder / "deep" / "b.png").write_bytes(png(1))
    said = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    (folder / name).write_bytes(b"\n".join(said) + b"\n")
    return folder / name


def reasons(path: Path) -> list[str]:
    """Of each row, empty where it was read."""
    rows = asked(path)
    return [row.verdict.reason if isinstance(row, Unread) else "" for row in rows]


GOOD = {"question": "How many?", "image": "a.png"}


def test_rows_of_json_lines_are_read_in_order(tmp_path: Path) -> None:
    path = lines(tmp_path, GOOD, {"question": "Where?", "image": ["a.png", "deep/b.png"]})
    first, second = asked(path)
    assert isinstance(first, Asked)
    assert isinstance(second, Asked)
    assert (first.id, first.question) == ("set.jsonl:1", "How many?")
    assert np.array_equal(first.pictures[0], picture(0))
    assert [np.array_equal(p, picture(n)) for n, p in enumerate(second.pictures)] == [True, True]


def test_columns_have_the_names_that_are_given(tmp_path: Path) -> None:
    row = {"uid": 17, "query": "How many?", "left": "a.png", "right": "deep/b.png"}
    columns = Columns("query", ("left", "right"), "uid")
    (read_,) = asked(lines(tmp_path, row), columns)
    assert isinstance(read_, Asked)
    assert (read_.id, len(read_.pictures)) == ("17", 2)


@pytest.mark.parametrize("cells", [
    [png(0), png(1)],
    [{"bytes": png(0), "path": None}, {"bytes": None, "path": "a.png"}],
    ["a.png", "deep/b.png"],
    [[png(0), png(1)], [png(0)]],
    [[{"bytes": png(0), "path": "x"}], [{"bytes": png(1), "path": "../x"}]],
], ids=["bytes", "hugging-face", "paths", "lists", "lists-hugging-face"])  # fmt: skip
def test_parquet_holds_pictures_in_any_of_the_usual_forms(tmp_path: Path, cells: list[Any]) -> None:
    lines(tmp_path, GOOD)
    table = pa.table({"image": cells, "question": ["How many?", "Where?"], "other": [1, 2]})
    pq.write_table(table, tmp_path / "set.parquet")
    assert reasons(tmp_path / "set.parquet") == ["", ""]


def test_a_folder_is_all_its_files_in_order_of_their_names(tmp_path: Path) -> None:
    lines(tmp_path, GOOD, name="b.jsonl")
    lines(tmp_path, GOOD, GOOD, name="a.jsonl")
    assert [row.id for row in asked(tmp_path)] == ["a.jsonl:1", "a.jsonl:2", "b.jsonl:1"]


def test_each_bad_row_says_why_and_the_next_is_read(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(png()[:200])
    bad: dict[Any, str] = {
        b'{"question": ': "not_json",
        b"[1, 2]": "not_json",
        b"\xff\xfe": "not_json",
        b"[" * 100_000: "not_json",
        json.dumps({"image": "a.png"}).encode(): "no_question",
        json.dumps({**GOOD, "question": "  "}).encode(): "no_question",
        json.dumps({**GOOD, "question": 3}).encode(): "no_question",
        json.dumps({"question": "How many?"}).encode(): "no_picture",
        json.dumps({**GOOD, "image": None}).encode(): "no_picture",
        json.dumps({**GOOD, "image": []}).encode(): "no_picture",
        json.dumps({**GOOD, "image": 3}).encode(): "not_a_path_or_bytes",
        json.dumps({**GOOD, "image": {"url": "a.png"}}).encode(): "not_a_path_or_bytes",
        json.dumps({**GOOD, "image": ["a.png"] * 65}).encode(): "too_many_pictures",
        json.dumps({**GOOD, "image": "gone.png"}).encode(): "picture_missing",
        json.dumps({**GOOD, "image": "deep"}).encode(): "picture_missing",
        json.dumps({**GOOD, "image": "text.png"}).encode(): "picture_not_a_picture",
        json.dumps({**GOOD, "image": "cut.png"}).encode(): "picture_truncated",
        json.dumps({**GOOD, "image": "x" * 5000}).encode(): "picture_missing",
        json.dumps({**GOOD, "image": "a\0.png"}).encode(): "picture_missing",
        json.dumps({**GOOD, "image": "\ud800.png"}).encode(): "picture_missing",
        json.dumps({**GOOD, "image": ["a.png", "../a.png"]}).encode(): "picture_outside",
    }
    rows = [row for one in bad for row in (json.dumps(GOOD).encode(), one)]
    found = reasons(lines(tmp_path, *rows))
    assert found[::2] == [""] * len(bad)
    assert dict(zip(bad, found[1::2], strict=True)) == bad


def test_a_line_without_end_is_one_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external, "MAX_LINE", 100)
    assert reasons(lines(tmp_path, GOOD, b"[" * 1234, GOOD)) == ["", "not_json", ""]


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "deep/../../secret.png",
        "deep/../a.png",
        "/etc/passwd",
        "out",
        "away/secret.png",
    ],
)
def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.png").write_bytes(png())
    folder = tmp_path / "set"
    path = lines(folder, {**GOOD, "image": name})
    (folder / "out").symlink_to(tmp_path / "secret.png")
    (folder / "away").symlink_to(tmp_path)
    assert reasons(path) == ["picture_outside"]
    with pytest.raises(PictureError, match="outside"):
        within(folder, name)


def test_links_in_a_circle_are_no_picture(tmp_path: Path) -> None:
    path = lines(tmp_path, {**GOOD, "image": "round"})
    (tmp_path / "round").symlink_to(tmp_path / "round")
    assert reasons(path)[0] in ("picture_outside", "picture_missing")  # Pythons differ


def test_a_link_that_stays_inside_is_followed(tmp_path: Path) -> None:
    path = lines(tmp_path, {**GOOD, "image": "same.png"})
    (tmp_path / "same.png").symlink_to(tmp_path / "a.png")
    assert reasons(path) == [""]


@given(st.text(alphabet="./ab~\\\0%", max_size=12))
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    folder = Path("/nowhere/at/all")
    try:
        path = within(folder, name)
    except ValueError:
        return
    assert os.path.commonpath([folder, os.path.normpath(folder / name)]) == str(folder)
    assert path.is_relative_to(folder)


def test_a_pipe_is_no_picture_and_is_not_waited_for(tmp_path: Path) -> None:
    path = lines(tmp_path, {**GOOD, "image": "pipe"})
    os.mkfifo(tmp_path / "pipe")
    assert reasons(path) == ["picture_missing"]


# Sets that cannot be read -------------------------------------------------------------------------


def test_a_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match=r"gone\.jsonl is not there: name a file"):
        next(asked(tmp_path / "gone.jsonl"))
    with pytest.raises(ExternalError, match=r"holds no \.jsonl or \.parquet file"):
        next(asked(tmp_path))
    (tmp_path / "set.csv").write_text("a,b")
    with pytest.raises(ExternalError, match=r"set\.csv is neither .*: convert it"):
        next(asked(tmp_path / "set.csv"))


def test_folders_and_pipes_that_are_called_like_files_are_no_part_of_a_set(tmp_path: Path) -> None:
    """Spark and Dask write folders of that name."""
    (tmp_path / "a.parquet").mkdir()
    os.mkfifo(tmp_path / "b.jsonl")
    with pytest.raises(ExternalError, match=r"holds no \.jsonl or \.parquet file"):
        next(asked(tmp_path))
    lines(tmp_path, GOOD)
    before = external.digest(tmp_path)
    assert reasons(tmp_path) == [""]
    assert external.digest(tmp_path / "set.jsonl") == before
    pq.write_table(
        pa.table({"question": ["Q?"], "image": [png()]}), tmp_path / "a.parquet" / "0.parquet"
    )
    assert reasons(tmp_path / "a.parquet") == [""]


def test_a_column_of_dates_beyond_all_years_is_no_question(tmp_path: Path) -> None:
    late = pa.array([2**62], pa.timestamp("us"))
    pq.write_table(pa.table({"question": late, "image": ["a.png"]}), tmp_path / "set.parquet")
    with pytest.raises(ExternalError, match=r"set\.parquet is damaged or no parquet"):
        list(asked(tmp_path))


def test_a_set_that_may_not_be_read_is_named_by_its_hash_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lines(tmp_path, GOOD)

    def refuse(self: Path, mode: str = "r") -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # whoever tests may be root
    with pytest.raises(ExternalError, match=r"set\.jsonl cannot be read: Permission denied: make"):
        external.digest(path)


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = lines(tmp_path, GOOD)
    with pytest.raises(
        ExternalError, match=r"set\.jsonl has no column 'query'; .*'question', 'image'"
    ):
        next(asked(path, Columns("query")))
    pq.write_table(pa.table({"question": ["How many?"]}), tmp_path / "set.parquet")
    with pytest.raises(
        ExternalError, match=r"set\.parquet has no column 'image'; it has 'question'"
    ):
        next(asked(tmp_path / "set.parquet"))


def test_a_damaged_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    pq.write_table(pa.table({"question": ["How many?"] * 99, "image": [png()] * 99}), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        ExternalError, match=r"set\.parquet is damaged or no parquet .*fetch it again"
    ):
        list(asked(path))
