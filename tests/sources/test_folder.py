"""A folder of pictures with annotations, from the version file to problems, splits and the report."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.build import build
from assets.checks import checks_of
from assets.graph import NODES, address
from assets.report import metadata, sources
from pipeline import teachers
from pipeline.fields import VersionError
from pipeline.images import BadPicture
from pipeline.importing import choose
from pipeline.imports import Columns, HuggingFaceImport, SourceError, VilasrImport, digest
from pipeline.measuring import measure
from pipeline.sources.ingest import BadRow
from pipeline.store import Store
from pipeline.types import Box, Kind, Line, Modality, Point
from tests.conftest import ByTheBatch, Saying
from tests.sources.conftest import ORIGIN, asked, folder_of, lines, made, only, picture, reasons

ORACLES = {"policy": {"kind": "oracle", "rates": {}}, "sampling": {"samples": 2}}


def row(name: str, question: str = "How many?", **more: Any) -> dict[str, Any]:
    return {"picture": name, "question": question, "answer": "3", **more}


def marked(name: str, n: int) -> dict[str, Any]:
    return row(
        name, f"Which is it, {n}?", options=["cat", "dog"], answer="dog",
        marks=[{"label": "dog", "box": [10, 10, 60, 60]}],
    )  # fmt: skip


def test_a_row_becomes_a_problem_with_its_marks_scaled_once(folder: Path) -> None:
    picture(folder / "large.png", 1, 392, 280)  # comes in at half its size
    marks = [
        {"label": "dog", "box": [20, 40, 120, 100]},
        {"label": "way", "line": [0, 0, 300, 200]},
        {"label": "cat", "box": [200, 100, 300, 200], "asked": False},
    ]
    lines(
        folder / "annotations.jsonl",
        [row("large.png", "Which?", options=["cat", "dog"], answer="b", marks=marks)],
    )
    problem = only(folder_of())
    assert problem.images[0].size == (196, 140)
    assert (problem.kind, problem.options, problem.answer) == (Kind.CHOICE, ("cat", "dog"), "B")
    dog = Box(1, (Point(10, 20), Point(60, 50)), "dog")
    way = Line(1, (Point(0, 0), Point(150, 100)), "way")
    assert problem.gold[0].ops == (dog, way)
    assert problem.scene is not None
    assert problem.scene.objects[2] == Box(1, (Point(100, 50), Point(150, 100)), "cat")
    assert problem.task == "mine"
    assert problem.id.endswith("-000001")


def test_a_plan_is_measured_on_the_problems_that_a_version_has(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(40):
        picture(folder / f"{n}.png", n)
    lines(folder / "annotations.jsonl", [row(f"{n}.png", f"How many, {n}?") for n in range(40)])
    monkeypatch.setitem(teachers.TEACHERS, "checkpoint", lambda *_: ByTheBatch(Saying()))
    measured = list(measure(folder_of(), Store.at(tmp_path / "data"), 2))
    assert [line.measured for line in measured] == [2, 2, 2]


def test_csv_says_the_same_as_json_lines(folder: Path) -> None:
    picture(folder / "a, b.png", 1)
    picture(folder / "c.png", 2)
    marks = [{"label": 'a "dog"', "box": [10, 10, 60, 60], "picture": 2}]
    both = {
        "picture": ["a, b.png", "c.png"],
        "question": "=HYPERLINK(1), is it?",
        "options": ["cat", "dog"],
        "answer": "dog",
        "marks": marks,
    }
    lines(folder / "annotations.jsonl", [both])
    (folder / "annotations.csv").write_text(
        "﻿picture,question,options,answer,marks\n"
        '"a, b.png|c.png","=HYPERLINK(1), is it?",cat|dog,dog,"'
        + json.dumps(marks).replace('"', '""')
        + '"\n',
        encoding="utf-8",
    )
    told, written = only(folder_of()), only(folder_of(annotations="annotations.csv"))
    assert told.modality is Modality.VIEWS
    assert told.question == "=HYPERLINK(1), is it?"
    for name in ("images", "question", "options", "answer", "kind", "gold", "conclusion", "id"):
        assert getattr(told, name) == getattr(written, name), name


def test_columns_may_be_called_anything_and_options_may_be_columns(folder: Path) -> None:
    picture(folder / "a.png", 1)
    lines(
        folder / "annotations.jsonl",
        [
            {
                "img": "a.png",
                "q": "What?",
                "x": "one",
                "y": "two",
                "z": None,
                "right": 1,
                "t": "mc",
            },
            {"img": "a.png", "q": "How many?", "right": 2.5, "t": "count"},
            {"img": "a.png", "q": "Why?", "right": "because", "t": "essay"},
        ],
    )
    columns = {
        "question": "q", "pictures": ["img"], "options": ["x", "y"], "answer": "right", "kind": "t",
    }  # fmt: skip
    kinds = {"mc": "choice", "count": "number"}
    kept, dropped = made(folder_of(columns=columns, kinds=kinds, answers="index"))
    first, second = sorted((p for ps in kept.values() for p in ps), key=lambda p: p.id[-6:])
    assert (first.options, first.answer) == (("one", "two"), "B")
    assert (second.kind, second.answer) == (Kind.NUMBER, "2.5")
    assert dropped == {"mine-000003": "unknown_question_type"}


def test_the_same_picture_is_in_one_split_whatever_is_asked_and_a_row_twice_is_dropped(
    folder: Path,
) -> None:
    names = [picture(folder / f"{n}.png", n) for n in range(12)]
    names.append("copy.png")
    (folder / "copy.png").write_bytes((folder / "3.png").read_bytes())
    rows = [row(name, f"How many of {n}?") for name in names for n in range(3)]
    lines(folder / "annotations.jsonl", rows)
    kept, dropped = made(folder_of())
    assert dropped == {f"mine-{split}-{n:06d}": "duplicate" for n, split in _copies(kept)}
    assert len(dropped) == 3
    owners: dict[str, set[str]] = {}
    for split, problems in kept.items():
        for problem in problems:
            owners.setdefault(problem.images[0].sha256, set()).add(split)
    assert all(len(splits) == 1 for splits in owners.values())
    assert len(kept) > 2


def _copies(kept: Any) -> list[tuple[int, str]]:
    (split,) = {s for s, problems in kept.items() for p in problems if p.id.endswith("000010")}
    return [(n, split) for n in (37, 38, 39)]


def test_views_that_share_a_picture_are_not_in_two_splits(folder: Path) -> None:
    names = [picture(folder / f"{n}.png", n) for n in range(12)]
    rows = [row([name, "0.png"], f"How many of {name}?") for name in names[1:]]  # type: ignore[arg-type]
    lines(folder / "annotations.jsonl", rows)
    kept, dropped = made(folder_of())
    assert len(kept) == 1
    assert set(dropped.values()) == {"in_other_split"}
    for one in rows:
        one["room"] = "kitchen"
    lines(folder / "annotations.jsonl", rows)
    kept, dropped = made(folder_of(columns={"group": "room"}))
    assert (len(kept), dropped) == (1, {})


def test_ids_and_splits_last_when_rows_are_added_and_a_split_grows(folder: Path) -> None:
    names = [picture(folder / f"{n}.png", n) for n in range(20)]
    lines(folder / "annotations.jsonl", map(row, names[:12]))
    before = {p.id for ps in made(folder_of())[0].values() for p in ps}
    lines(folder / "annotations.jsonl", map(row, names))
    after = {p.id for ps in made(folder_of())[0].values() for p in ps}
    assert before < after
    weights = {"cold": 10, "rl": 10, "evaluation": 5}
    keys = [str(n).encode() for n in range(400)]
    grown = {**weights, "rl": 30}
    moved = {(choose(k, weights), choose(k, grown)) for k in keys} - {(s, s) for s in weights}
    assert {to for _, to in moved} == {"rl"}
    assert 120 < sum(choose(k, weights) == "cold" for k in keys) < 200


def test_a_row_may_say_its_split_and_a_source_may_be_bound_to_some(folder: Path) -> None:
    names = [picture(folder / f"{n}.png", n) for n in range(4)]
    said = ["rl", "evaluation", "test", ""]
    rows = [row(name, split=split) for name, split in zip(names, said, strict=True)]
    lines(folder / "annotations.jsonl", rows)
    kept, dropped = made(folder_of(columns={"split": "split"}, splits=["rl", "cold"]))
    assert kept["rl"][0].id == "mine-rl-000001"
    assert dropped == {"mine-000002": "no_split", "mine-000003": "unknown_split"}
    assert sum(map(len, kept.values())) == 2


def test_rows_without_marks_go_where_no_oracle_solves_them(folder: Path) -> None:
    names = [picture(folder / f"{n}.png", n) for n in range(16)]
    lines(folder / "annotations.jsonl", map(row, names))
    imports = {"mine": {"kind": "folder", "path": "mine", **ORIGIN}}
    version = asked(imports, {"skills": 9, "cold": 9, "reflective": 9, "rl": 9, "evaluation": 9})
    assert set(made(version)[0]) <= {"cold", "reflective", "rl", "evaluation"}
    version = asked(imports, teacher=ORACLES, cold_model=ORACLES, reflective_model=ORACLES)
    kept, dropped = made(version)
    assert (kept, set(dropped.values())) == ({}, {"no_marks"})


def test_what_a_split_does_not_need_is_counted_and_what_it_lacks_is_told(
    folder: Path, tmp_path: Path
) -> None:
    names = [picture(folder / f"{n}.png", n) for n in range(30)]
    lines(folder / "annotations.jsonl", [*(marked(n, 1) for n in names), row("gone.png")])
    imports = {"mine": {"kind": "folder", "path": "mine", **ORIGIN}}
    splits = {"skills": 1, "cold": 2, "reflective": 2, "rl": 2, "evaluation": 60}
    version = asked(imports, splits, teacher=ORACLES, cold_model=ORACLES, reflective_model=ORACLES)
    built = build("problems", version, Store.at(tmp_path / "data"))
    account = built.manifest.facts["imports"]["mine"]
    kept = account["kept"]
    assert account["rows"] == 31 == sum(kept.values()) + account["not_needed"] + 1
    assert account["dropped"] == {"picture_missing": 1}
    assert (account["origin"], account["licence"]) == ("made for a test", "CC0-1.0")
    assert built.manifest.facts["short"]["evaluation"] == 60 - kept["evaluation"]
    for check in checks_of("problems"):
        assert check(built).passed, check(built)
    head, body = sources(built.manifest.facts)
    assert head[0] == "import"
    assert "picture_missing 1" in body[0]
    assert "evaluation" in body[1][2]
    assert "made for a test" in str(metadata(built)["origins"])


def test_a_source_is_not_read_further_than_it_is_needed(folder: Path) -> None:
    names = [picture(folder / f"{n}.png", n) for n in range(40)]
    lines(folder / "annotations.jsonl", map(row, names))
    imports = {"mine": {"kind": "folder", "path": "mine", **ORIGIN, "splits": ["rl"]}}
    kept, _ = made(
        asked(
            imports, {**dict.fromkeys(("skills", "cold", "reflective", "evaluation"), 0), "rl": 3}
        )
    )
    assert [p.id for p in kept["rl"]] == [f"mine-rl-{n:06d}" for n in (1, 2, 3)]


def test_imports_share_a_split_with_tasks_and_tasks_fill_up(folder: Path) -> None:
    names = [picture(folder / f"{n}.png", n) for n in range(40)]
    lines(folder / "annotations.jsonl", [marked(n, 1) for n in names])
    splits = {"skills": 0, "cold": 12, "reflective": 0, "rl": 0, "evaluation": 0}
    imports = {"mine": {"kind": "folder", "path": "mine", **ORIGIN, "share": 0.5}}
    kept, _ = made(asked(imports, splits, problems={"tasks": {"counting": {"share": 1.0}}}))
    by_task = [p.task for p in kept["cold"]]
    assert (by_task.count("mine"), by_task.count("counting")) == (4, 8)
    lines(folder / "annotations.jsonl", [marked(names[0], 1)])
    kept, _ = made(asked(imports, splits, problems={"tasks": {"counting": {"share": 1.0}}}))
    by_task = [p.task for p in kept["cold"]]
    assert (by_task.count("mine"), by_task.count("counting")) == (1, 11)


def test_near_duplicates_of_what_is_evaluated_on_are_dropped_wherever_they_lie(
    folder: Path,
) -> None:
    picture(folder / "a.png", 1)
    picture(folder / "b.png", 1, 174, 116)  # the same in another size: another picture, and near
    rows = [row("a.png", split="cold"), row("b.png", split="evaluation")]
    lines(folder / "annotations.jsonl", rows)
    imports = {"mine": {"kind": "folder", "path": "mine", **ORIGIN, "columns": {"split": "split"}}}
    kept, dropped = made(asked(imports, problems={"near_duplicates": "drop"}))
    assert list(kept) == ["evaluation"]
    assert list(dropped) == ["mine-cold-000001"]


def test_the_same_problems_come_of_one_process_and_of_two(folder: Path, tmp_path: Path) -> None:
    from pipeline.problems import sample

    names = [picture(folder / f"{n}.png", n) for n in range(40)]
    lines(folder / "annotations.jsonl", [*map(row, names), row("gone.png")])
    version = folder_of()
    alone, two = list(sample(version, 1)), list(sample(version, 2))
    assert alone == two
    assert len(alone) == 41


def test_a_rows_own_id_is_told_with_its_place(folder: Path) -> None:
    picture(folder / "a.png", 1)
    lines(folder / "annotations.jsonl", [row("a.png", key="q-17")])
    problem = only(folder_of(columns={"id": "key"}))
    assert problem.scene is not None
    assert json.loads(problem.scene.geometry)["row"] == "annotations.jsonl:1 (q-17)"


def test_the_page_of_sources_has_every_reason_and_its_version_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()
    for reason in (*BadRow, *(f"picture_{reason}" for reason in BadPicture)):
        assert f"`{reason}`" in page, reason
    fields = {*Columns.model_fields, *HuggingFaceImport.model_fields, *VilasrImport.model_fields}
    for field in fields - {"kind", "path"}:
        assert field in page, field
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    problems = yaml.safe_load(shown)["problems"]
    version = asked(problems["imports"], problems["splits"])
    assert version.problems.imports["web"].share == 2


# Addresses ---------------------------------------------------------------------------------------


def test_data_decides_the_address_and_whose_it_is_does_not(folder: Path) -> None:
    picture(folder / "a.png", 1)
    lines(folder / "annotations.jsonl", [row("a.png")])
    before = address("problems", folder_of())
    assert address("problems", folder_of(licence="another")) == before
    picture(folder / "a.png", 2)
    other = address("problems", folder_of())
    assert other != before
    lines(folder / "annotations.jsonl", [row("a.png", "How much?")])
    assert address("problems", folder_of()) not in (before, other)


def test_a_pipe_is_no_data_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="is not there: put the data there"):
        digest(tmp_path / "pipe")
    (tmp_path / "a.txt").write_text("a")
    before = digest(tmp_path)
    (tmp_path / "pipe").unlink()
    assert digest(tmp_path) == before


def test_a_version_means_the_data_that_it_first_saw(folder: Path) -> None:
    picture(folder / "a.png", 1)
    lines(folder / "annotations.jsonl", [row("a.png")])
    version = folder_of()
    before = address("problems", version)
    picture(folder / "a.png", 2)
    assert address("problems", version) == before


def test_the_recipe_runs_to_its_end_on_a_folder_of_pictures(folder: Path, tmp_path: Path) -> None:
    names = [picture(folder / f"{n}.png", n) for n in range(24)]
    splits = ("skills", "cold", "reflective", "rl", "evaluation")
    rows = [{**marked(name, n), "split": splits[n % 5]} for n, name in enumerate(names)]
    lines(folder / "annotations.jsonl", rows)
    imports = {"mine": {"kind": "folder", "path": "mine", **ORIGIN, "columns": {"split": "split"}}}
    version = asked(imports, dict.fromkeys(splits, 10), teacher=ORACLES, cold_model=ORACLES,
                    reflective_model=ORACLES)  # fmt: skip
    store = Store.at(tmp_path / "data")
    for asset in NODES:
        if asset not in ("evaluation", "gallery"):
            built = build(asset, version, store)
            for check in checks_of(asset):
                assert check(built).passed, (asset, check(built))


# What a version file may say ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "zip"}, ["problems.imports.mine", "'zip'", "folder, huggingface"]),
        ({"origin": None}, ["problems.imports.mine.origin"]),
        ({"colums": {}}, ["problems.imports.mine.colums", "no such field"]),
        ({"columns": {"picture": "x"}}, ["problems.imports.mine.columns.picture", "no such field"]),
        ({"splits": ["test"]}, ["problems.imports.mine.splits", "'test'"]),
        ({"kinds": {"mc": "choice"}}, ["kinds and columns.kind go together"]),
        ({"kind": "huggingface", "hub": "a/b"}, ["path or hub"]),
        ({"kind": "huggingface", "path": "", "hub": "a/b"}, ["hub and revision"]),
    ],
)
def test_a_wrong_import_is_refused_with_its_field(changes: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(VersionError) as refused:
        folder_of(**changes)
    for part in said:
        assert part in str(refused.value)


@pytest.mark.parametrize("name", ["maze", "photos", "Not A Name", "a/b"])
def test_an_import_has_a_name_of_its_own(name: str) -> None:
    with pytest.raises(VersionError, match=r"problems\.imports"):
        asked({name: {"kind": "folder", "path": "mine", **ORIGIN}})


def test_a_mapping_to_nothing_names_the_columns_that_are_there(folder: Path) -> None:
    picture(folder / "a.png", 1)
    lines(folder / "annotations.jsonl", [row("a.png")])
    with pytest.raises(VersionError, match=r"no column 'frage'; it has 'picture', 'question'"):
        made(folder_of(columns={"question": "frage"}))
    with pytest.raises(VersionError, match="no column 'kind_of'"):
        made(folder_of(columns={"kind": "kind_of"}, kinds={"x": "choice"}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"path": "nowhere"}, "nowhere is not there"),
        ({"path": "mine/annotations.jsonl"}, "is no folder"),
        ({"annotations": "other.csv"}, "other.csv is not there"),
        ({"annotations": "notes.txt"}, r"notes.txt is no \.jsonl"),
        ({"annotations": "../outside.jsonl"}, "no path inside a folder"),
    ],
)
def test_data_that_is_not_there_is_refused_with_the_remedy(
    folder: Path, changes: dict[str, str], said: str
) -> None:
    lines(folder / "annotations.jsonl", [])
    with pytest.raises(SourceError, match=said):
        made(folder_of(**changes))
    assert reasons(folder_of()) == []
