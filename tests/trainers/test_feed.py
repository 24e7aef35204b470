"""Exports as a trainer reads them: every row once, in an order that resuming continues."""

import json
import shutil
import struct
import weakref
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.bodies import TABLES, WEIGHT
from pipeline import row_groups, rows, tokens
from pipeline.images import decode
from pipeline.manifest import MANIFEST
from pipeline.protocol import FAMILIES
from pipeline.store import Store, Writer
from pipeline.types import Modality
from tests.trainers.conftest import TURNS, Small, export, problem_of, solved, told
from trainers import feed as feed_module
from trainers.exported import Part, WrongData, read_row, stated, trajectories
from trainers.feed import Feed, Ref

PIXELS = FAMILIES["qwen2.5-vl"]
# A PNG whose header says 100,000 × 100,000 pixels.
HEADER = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
BOMB = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + HEADER + struct.pack(">I", zlib.crc32(HEADER))


def fed(one: Small, *folders: str, **options: Any) -> Feed:
    return Feed(folders, one.words, one.name, options.pop("max_tokens", 4096), **options)


def ids(feed: Feed, refs: list[Ref]) -> list[str]:
    return [f"{state.problem.id}#{state.sample}" for state, _ in feed.read(refs)]


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Thirty rows in row groups of two, three samples of each of ten problems."""
    monkeypatch.setattr(row_groups, "GROUP_ROWS", 2)
    problems = [problem_of(Modality.IMAGE, PIXELS, n) for n in range(10)]
    done = [(p, solved(p, PIXELS, draws=1 + n % 2)) for n, p in enumerate(problems)]
    with Writer(Store.at(tmp_path), "cold_export", "many", TABLES["export"]) as writer:
        for problem, trajectory in done:
            for sample in range(3):
                row = {**rows.problem_row(problem), **rows.trajectory_row(trajectory)}
                wire = {"family": "qwen2.5-vl", "max_turns": TURNS, "max_images": 42}
                own = {"id": f"{problem.id}#{sample}", "sample": sample}
                writer.append("train", {**row, **wire, **own})
    return str(tmp_path / "cold_export" / "many")


# Order -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 4, 7, 30, 64])
@pytest.mark.parametrize("window", [1, 3, 16])
def test_every_row_is_given_once_an_epoch(
    batch: int, window: int, many: str, one: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "WINDOW", window)
    feed = fed(one, many)
    batches = feed.epoch(0, seed=1, batch=batch)
    assert [len(refs) for refs in batches] == [batch] * (30 // batch) + [30 % batch] * (
        30 % batch > 0
    )
    given = [ref for refs in batches for ref in refs]
    assert len(set(given)) == len(given) == 30
    assert len(set(ids(feed, given))) == 30


def test_a_row_is_given_as_often_as_it_weighs_to_one_more_or_less(
    tmp_path: Path, one: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = [problem_of(Modality.IMAGE, PIXELS, n) for n in range(10)]
    weigh = [0.25, 2.5, 0.25, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    table = {"train": rows.joined(TABLES["export"]["train"], WEIGHT)}
    with Writer(Store.at(tmp_path), "cold_export", "weighed", table) as writer:
        for problem, weight in zip(problems, weigh, strict=True):
            row = {**rows.problem_row(problem), **rows.trajectory_row(solved(problem, PIXELS))}
            wire = {"family": "qwen2.5-vl", "max_turns": TURNS, "max_images": 42}
            writer.append("train", {**row, **wire, "weight": weight})
    feed = fed(one, str(tmp_path / "cold_export" / "weighed"))
    total: Counter[int] = Counter()
    for epoch in range(200):
        given = Counter(ref.row for refs in feed.epoch(epoch, 1, 4) for ref in refs)
        assert given.total() == 10
        assert all(abs(given[n] - weight) < 1 for n, weight in enumerate(weigh))
        total += given
    assert [total[n] / 200 for n in range(10)] == pytest.approx(weigh, abs=0.12)


def test_the_order_is_a_function_of_seed_and_epoch_alone(many: str, one: Small) -> None:
    feed, again = fed(one, many), fed(one, many)
    orders = {
        (seed, epoch): feed.epoch(epoch, seed, batch=4) for seed in (1, 2) for epoch in (0, 1)
    }
    assert len({str(order) for order in orders.values()}) == 4
    for (seed, epoch), order in reversed(orders.items()):  # whatever was asked for before
        again.read(order[0])
        assert again.epoch(epoch, seed, batch=4) == order


def test_rows_of_a_batch_are_of_like_length(many: str, one: Small) -> None:
    feed = fed(one, many)
    apart = [
        max(r.length for r in refs) - min(r.length for r in refs)
        for refs in feed.epoch(0, seed=1, batch=4)
    ]
    everything = [ref.length for ref in feed.refs]
    assert sum(apart) / len(apart) < (max(everything) - min(everything)) / 2


def test_rows_come_back_as_they_were_written_with_their_pictures(exported: str, one: Small) -> None:
    feed = fed(one, exported)
    written = {f"{t.problem_id}#{t.sample}": (p, t) for p, t in told(PIXELS, 12)}
    assert len(feed.refs) == 12
    for ref, (state, turns) in zip(feed.refs, feed.read(feed.refs), strict=True):
        problem, trajectory = written.pop(f"{state.problem.id}#{state.sample}")
        assert state.problem == problem
        assert state.turns == trajectory.turns
        assert turns == TURNS
        whole = tokens.told(state, one.words, PIXELS, turns, sampled=False)
        assert ref.length == len(whole.ids)
    assert not written


def test_several_exports_are_one_set(exported: str, many: str, one: Small) -> None:
    feed = fed(one, exported, many)
    assert len(feed.refs) == 42
    given = [ref for refs in feed.epoch(0, 1, 8) for ref in refs]
    assert len(set(given)) == 42
    assert len(feed.read(given)) == 42


# Validation --------------------------------------------------------------------------------------


def test_whole_problems_are_held_out_always_the_same_and_never_trained_on(
    many: str, one: Small
) -> None:
    feed, again = (fed(one, many, validation_share=0.3) for _ in range(2))
    held, trained = (
        {name.split("#")[0] for name in ids(feed, refs)} for refs in (feed.held, feed.refs)
    )
    assert held
    assert trained
    assert not held & trained
    assert len(feed.held) == 3 * len(held)
    assert (feed.held, feed.refs) == (again.held, again.refs)
    given = [ref for refs in feed.epoch(0, 1, 4) for ref in refs]
    assert not set(given) & set(feed.held)
    more = fed(one, many, validation_share=0.6)
    assert set(feed.held) < set(more.held)  # a larger share holds out more, not others


def test_validation_gives_every_row_held_out_once_a_window_at_a_time(
    many: str, one: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "WINDOW", 2)
    feed = fed(one, many, validation_share=0.6)
    held, read = {ref.group for ref in feed.held}, Part.read_row_group
    asked: list[int] = []

    def counted(self: Part, group: int, *given: Any, **how: Any) -> pa.Table:
        asked.append(group)
        return read(self, group, *given, **how)

    monkeypatch.setattr(Part, "read_row_group", counted)
    batches = [*feed.validation(batch=3)]
    assert sorted(ref for refs in batches for ref in refs) == sorted(feed.held)
    for refs in batches:
        assert [ref.length for ref in refs] == sorted(ref.length for ref in refs)
        feed.read(refs)
    assert sorted(asked) == sorted(held)
    assert len(held) > 2 * 2  # more than are kept in memory


# What is refused ---------------------------------------------------------------------------------


def test_rows_that_do_not_fit_are_named_with_their_length(exported: str, one: Small) -> None:
    everything = fed(one, exported)
    lengths = sorted(ref.length for ref in everything.refs)
    most = lengths[6]
    feed = fed(one, exported, max_tokens=most)
    assert sorted(ref.length for ref in feed.refs) == [n for n in lengths if n <= most]
    assert sorted(refusal.length for refusal in feed.refused) == [n for n in lengths if n > most]
    names = {f"{t.problem_id}#{t.sample}" for _, t in told(PIXELS, 12)}
    assert {refusal.id for refusal in feed.refused} == names - set(ids(feed, feed.refs))


def test_when_no_row_fits_the_longest_is_named(exported: str, one: Small) -> None:
    longest = max(ref.length for ref in fed(one, exported).refs)
    said = rf"12 are longer than 8 tokens \(up to {longest}\), 0 are held out"
    with pytest.raises(WrongData, match=said):
        fed(one, exported, max_tokens=8)


def test_a_set_for_another_family_is_refused_by_its_row(exported: str, smalls: Any) -> None:
    three = smalls["qwen3-vl"]
    said = r"train-00000.parquet: image-0#0 was written for qwen2.5-vl, the model is of qwen3-vl: b"
    with pytest.raises(WrongData, match=said):
        Feed([exported], three.words, three.name, 4096)


def one_row(**changes: object) -> dict[str, Any]:
    problem = problem_of(Modality.IMAGE, PIXELS)
    return {**rows.trajectory_row(solved(problem, PIXELS)), **changes}


def with_mark(k: int) -> dict[str, Any]:
    """A row whose first mark is on the k-th picture."""
    row = one_row()
    row["turns"][0]["ops"][0]["k"] = k
    return row


def with_label(label: str | None) -> dict[str, Any]:
    row = one_row()
    row["turns"][0]["ops"][0]["label"] = label
    return row


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (with_mark(99), "cannot be read"),
        (with_mark(0), "cannot be read .*a mark on a picture before the first"),
        (with_mark(-1), "cannot be read"),
        (with_label(None), "cannot be read .*a text that is none"),
        ({"question": None}, "cannot be read .*a text that is none"),
        ({"max_turns": None}, "cannot be read"),
        ({"turns": []}, "cannot be read"),
        ({"turns": None}, "cannot be read"),
        ({"sizes": None}, "cannot be read"),
        (
            {"sizes": [{"width": 84, "height": 83}]},
            "84 × 83 px, and models of qwen2.5-vl see patches",
        ),
        ({"sizes": [{"width": 0, "height": 84}]}, "0 × 84 px"),
        ({"sizes": [{"width": -84, "height": 84}]}, "-84 × 84 px"),
        ({"sizes": [{"width": 28 * 10**6, "height": 84}]}, "28000000 × 84 px"),
        ({"sizes": [{"width": None, "height": 84}]}, "cannot be read"),
        ({"family": None}, "written for None"),
    ],
)
def test_a_row_that_the_pipeline_does_not_write_is_refused_by_file_and_name(
    changes: dict[str, Any], said: str, tmp_path: Path, one: Small
) -> None:
    problem = problem_of(Modality.IMAGE, PIXELS)
    folder = export(tmp_path, one.name, [(problem, solved(problem, PIXELS))], **changes)
    with pytest.raises(WrongData, match=rf"{folder}/train-00000.parquet: image-0\S* .*{said}"):
        fed(one, folder)


@pytest.mark.parametrize("picture", [b"no picture", BOMB], ids=["text", "huge"])
def test_a_picture_that_is_none_is_refused_when_it_is_drawn(
    picture: bytes, tmp_path: Path, one: Small
) -> None:
    problem = problem_of(Modality.IMAGE, PIXELS)
    images = [{"bytes": picture, "path": None}]
    folder = export(tmp_path, one.name, [(problem, solved(problem, PIXELS))], images=images)
    feed = fed(one, folder)
    ((state, _),) = feed.read(feed.refs)
    with pytest.raises(ValueError, match=r"does not decode: the store is damaged"):
        decode(state.problem.images[0])


def test_a_picture_that_lies_elsewhere_is_refused() -> None:
    """As `datasets` may write them; our exports hold their pictures."""
    problem = problem_of(Modality.IMAGE, PIXELS)
    row = {**rows.problem_row(problem), **one_row(), "max_turns": TURNS}
    with pytest.raises(WrongData, match=r"a.parquet: image-0#0 .*a picture without bytes"):
        read_row({**row, "images": [{"bytes": None, "path": "a.png"}]}, stated, "a.parquet")


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0, None])
def test_a_weight_that_is_none_is_refused(weight: float | None, tmp_path: Path, one: Small) -> None:
    problem = problem_of(Modality.IMAGE, PIXELS)
    table = {"train": rows.joined(TABLES["export"]["train"], WEIGHT)}
    with Writer(Store.at(tmp_path), "cold_export", "weighed", table) as writer:
        row = {**rows.problem_row(problem), **rows.trajectory_row(solved(problem, PIXELS))}
        wire = {"family": "qwen2.5-vl", "max_turns": TURNS, "max_images": 42}
        writer.append("train", {**row, **wire, "weight": weight})
    with pytest.raises(WrongData, match=r"train-00000.parquet: image-0#0 weighs"):
        fed(one, str(tmp_path / "cold_export" / "weighed"))


def copied(folder: str, to: Path) -> Path:
    place = to / "cold_export" / "copied"
    shutil.copytree(folder, place)
    return place


def test_a_folder_that_is_not_there_or_is_not_finished_is_refused(
    exported: str, tmp_path: Path, one: Small
) -> None:
    nowhere = tmp_path / "cold_export" / "none"
    with pytest.raises(WrongData, match=f"{nowhere} has no {MANIFEST}: name the folder"):
        fed(one, str(nowhere))
    place = copied(exported, tmp_path)
    (place / MANIFEST).unlink()
    with pytest.raises(WrongData, match=f"{place} has no {MANIFEST}"):
        fed(one, str(place))


def test_another_schema_version_is_refused_with_both(
    exported: str, tmp_path: Path, one: Small
) -> None:
    place = copied(exported, tmp_path)
    content = json.loads((place / MANIFEST).read_text())
    content["schema_version"] = 99
    (place / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(
        WrongData, match=f"{place} has schema version 99, this code reads 1: delete"
    ):
        fed(one, str(place))


def test_a_manifest_that_is_none_is_refused_by_name(
    exported: str, tmp_path: Path, one: Small
) -> None:
    place = copied(exported, tmp_path)
    (place / MANIFEST).write_text("{")
    with pytest.raises(WrongData, match=f"{place / MANIFEST} is no manifest"):
        fed(one, str(place))


def test_an_export_without_rows_is_refused_with_what_to_change(tmp_path: Path, one: Small) -> None:
    with pytest.raises(WrongData, match="has no rows to train on: loosen the filters"):
        fed(one, export(tmp_path, "qwen2.5-vl", []))


def test_another_asset_than_an_export_is_refused(tmp_path: Path, one: Small) -> None:
    with Writer(Store.at(tmp_path), "cold", "x", TABLES["cold"]):
        pass
    with pytest.raises(WrongData, match="holds cold, rejects: name the folder of an export"):
        fed(one, str(tmp_path / "cold" / "x"))


def test_an_export_of_problems_is_no_export_of_trajectories(tmp_path: Path, one: Small) -> None:
    with Writer(Store.at(tmp_path), "rl_export", "x", TABLES["rl_export"]) as writer:
        writer.append("train", {**rows.problem_row(problem_of(Modality.IMAGE, PIXELS))})
    with pytest.raises(WrongData, match=r"train-00000.parquet has no column 'id'"):
        fed(one, str(tmp_path / "rl_export" / "x"))


def part_of(place: Path) -> Path:
    return next(place.glob("train-*.parquet"))


def test_a_cut_part_is_named(exported: str, tmp_path: Path, one: Small) -> None:
    part = part_of(copied(exported, tmp_path))
    part.write_bytes(part.read_bytes()[:-1000])
    with pytest.raises(WrongData, match=f"{part}: .*; delete its folder and build it again"):
        fed(one, str(part.parent))


def test_a_part_that_is_gone_is_named(exported: str, tmp_path: Path, one: Small) -> None:
    part = part_of(copied(exported, tmp_path))
    part.unlink()
    with pytest.raises(WrongData, match=f"{part}.*; delete its folder and build it again"):
        fed(one, str(part.parent))


def test_a_part_with_a_damaged_page_is_named_when_the_page_is_read(
    exported: str, tmp_path: Path, one: Small
) -> None:
    part = part_of(copied(exported, tmp_path))
    columns = Part(str(part)).metadata.row_group(0)
    places = {
        columns.column(n).path_in_schema: columns.column(n).data_page_offset
        for n in range(columns.num_columns)
    }

    def damage(column: str) -> None:
        content = bytearray(part.read_bytes())
        at = next(place for name, place in places.items() if name.startswith(column)) + 40
        content[at : at + 8] = bytes(b ^ 255 for b in content[at : at + 8])
        part.write_bytes(content)

    damage("images")
    feed = fed(one, str(part.parent))  # lengths need no pictures
    with pytest.raises(WrongData, match=f"{part}: .*; delete its folder and build it again"):
        feed.read(feed.refs[:1])
    damage("question")
    with pytest.raises(WrongData, match=f"{part}: .*; delete its folder and build it again"):
        fed(one, str(part.parent))


# Memory ------------------------------------------------------------------------------------------


def test_only_two_windows_of_row_groups_are_in_memory_and_each_is_read_once(
    many: str, one: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "WINDOW", 3)
    feed, most = fed(one, many), 0
    tables: list[weakref.ref[pa.Table]] = []
    read = Part.read_row_group

    def counted(self: Part, *asked: Any, **how: Any) -> pa.Table:
        table = read(self, *asked, **how)
        tables.append(weakref.ref(table))
        return table

    monkeypatch.setattr(Part, "read_row_group", counted)
    for refs in feed.epoch(0, seed=1, batch=4):
        feed.read(refs)
        most = max(most, sum(table() is not None for table in tables))
    assert most <= 2 * 3
    assert len(tables) == 15


def test_lengths_are_found_without_reading_pictures(
    many: str, one: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    read = Part.read_row_group

    def seen(self: Part, group: int, columns: Any = None) -> pa.Table:
        asked.append(columns)
        return read(self, group, columns)

    monkeypatch.setattr(Part, "read_row_group", seen)
    fed(one, many)
    assert len(asked) == 15
    assert all(columns and "images" not in columns for columns in asked)


def test_texts_are_read_without_a_model(exported: str) -> None:
    def said() -> Iterator[str]:
        for state, family, turns in trajectories(exported):
            assert (family, turns) == ("qwen2.5-vl", TURNS)
            yield state.turns[-1].text

    assert list(said()) == [t.turns[-1].text for _, t in told(PIXELS, 12)]
