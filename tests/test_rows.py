"""Rows: every noun comes back from parquet as it went in, and anyone can open an export."""

import io
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import rows
from pipeline.tasks import TASKS
from pipeline.types import (
    Answer,
    Fault,
    Parsed,
    Problem,
    Step,
    Stop,
    Trajectory,
    Turn,
)
from tests.conftest import box, line, plain_problem
from tests.test_grammar import answers, steps


def through_arrow(row: rows.Row, schema: pa.Schema) -> rows.Row:
    return pa.Table.from_pylist([row], schema=schema).to_pylist()[0]  # type: ignore[no-any-return]


PROBLEM = rows.joined(rows.FACTS, rows.PICTURES)


@pytest.mark.parametrize("task", TASKS)
def test_a_problem_comes_back_with_its_pictures(task: str) -> None:
    made = TASKS[task]()(width=112, height=140, difficulty=0.5, wording="varied")
    problem = made.sample(Random("rows"))
    assert rows.problem(through_arrow(rows.problem_row(problem), PROBLEM)) == problem


def test_a_problem_without_truth_or_solution_comes_back_too() -> None:
    bare = plain_problem(gold=(), scene=None, conclusion="")
    assert rows.problem(through_arrow(rows.problem_row(bare), PROBLEM)) == bare


def test_without_its_pictures_a_problem_keeps_their_sizes_and_hashes() -> None:
    problem = plain_problem()
    back = rows.problem(through_arrow(rows.problem_row(problem), rows.FACTS))
    assert [(i.size, i.sha256, i.png) for i in back.images] == [
        (i.size, i.sha256, b"") for i in problem.images
    ]


parsed = st.one_of(
    steps,
    answers,
    st.builds(
        Fault, st.sampled_from([s for s in Stop if s is not Stop.ANSWERED]), st.text(max_size=9)
    ),
)
turns = st.builds(
    Turn,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    parsed,
    st.one_of(st.none(), st.lists(st.integers(0, 2**31 - 1), max_size=4).map(tuple)),
    st.one_of(st.none(), st.lists(st.floats(-50, 0, width=32), max_size=4).map(tuple)),
)


@given(st.lists(turns, max_size=4).map(tuple), st.sampled_from(Stop))
def test_a_trajectory_comes_back_exactly(told: tuple[Turn, ...], stop: Stop) -> None:
    trajectory = Trajectory("p", 3, told, stop)
    row = through_arrow(rows.trajectory_row(trajectory), rows.TRAJECTORY)
    assert rows.trajectory(row) == trajectory


def test_what_a_turn_was_lenient_about_is_kept() -> None:
    said: tuple[Parsed, ...] = (
        Step("a", (box(1, 2, 3, 4), line(1, 2, 3, 4)), ("fence", "bare")),
        Answer("b", "c", ("stray",)),
    )
    trajectory = Trajectory("p", 0, tuple(Turn("x", p) for p in said), Stop.ANSWERED)
    assert (
        rows.trajectory(through_arrow(rows.trajectory_row(trajectory), rows.TRAJECTORY))
        == trajectory
    )


def test_joining_schemas_keeps_each_column_once() -> None:
    names = rows.joined(rows.TRAJECTORY, rows.GRADE, rows.FACTS).names
    assert len(set(names)) == len(names)
    assert names[:2] == ["id", "problem_id"]


def test_datasets_decodes_the_pictures_and_a_row_of_its_is_a_problem_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    problem: Problem = plain_problem()
    table = pa.Table.from_pylist([rows.problem_row(problem)], schema=rows.hugging_face(PROBLEM))
    pq.write_table(table, tmp_path / "one.parquet")
    loaded = load_dataset(
        "parquet",
        data_files=str(tmp_path / "one.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    row = loaded[0]
    assert row["images"][0].size == (224, 224)
    back = rows.problem(row)
    assert back.images[0].sha256 == problem.images[0].sha256
    assert back.images[0].png == problem.images[0].png
    assert io.BytesIO(back.images[0].png).read(4) == b"\x89PNG"
