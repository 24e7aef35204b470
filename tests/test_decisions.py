"""Decisions by hand: read strictly, honoured before every filter, about the texts that were read."""

from pathlib import Path

import pytest

from pipeline import curate, decisions
from pipeline.decisions import Decision, DecisionError
from pipeline.types import Answer
from tests.test_curate import DONE, LOOK, MOVE, graded


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mini.decisions.jsonl"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    said = {"b#1": Decision(True), "a#0": Decision(False, "crosses a wall — so", "ab" * 16)}
    decisions.write(path := file(tmp_path, ""), said)
    assert decisions.read(path) == said
    assert path.read_text(encoding="utf-8").startswith('{"id": "a#0", "keep": false, "note"')


def test_without_a_file_nobody_decided_anything(tmp_path: Path) -> None:
    assert decisions.read(tmp_path / "none.jsonl") == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not JSON"),
        ("[" * 100_000, "line 2: not JSON"),
        ('["a#0"]', "line 2: an object is needed"),
        ('{"keep": true}', "line 2: id is missing"),
        ('{"id": "a#0"}', "line 2: keep is missing"),
        ('{"id": "a#0", "keep": 1}', "line 2: keep: 1: true or false is needed"),
        ('{"id": 7, "keep": true}', "line 2: id: 7: a text is needed"),
        (
            '{"id": "a#0", "keep": true, "why": ""}',
            "no field 'why'; there are id, keep, note, texts",
        ),
        ('{"id": "x#0", "keep": true}', "line 2: 'x#0' is decided a second time"),
    ],
)
def test_a_line_that_is_not_understood_is_refused_by_its_number(
    line: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(DecisionError, match=r"mini\.decisions\.jsonl") as refused:
        decisions.read(file(tmp_path, f'{{"id": "x#0", "keep": false}}\n{line}\n'))
    assert said in str(refused.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(DecisionError, match="not UTF-8"):
        decisions.read(path)


def test_a_decision_goes_before_every_filter_but_that_a_trajectory_must_have_ended() -> None:
    rows = graded((LOOK, MOVE, DONE), (LOOK, MOVE, Answer("So.", "B")), (LOOK, "Hm."), (LOOK, DONE))
    name = [row.trajectory.id for row in rows]
    said = {
        name[0]: Decision(False, "dull"), name[1]: Decision(True),
        name[2]: Decision(True), "elsewhere#0": Decision(True),
    }  # fmt: skip
    found = [verdict for _, verdict in curate.sift(rows, curate.cold_filters(3, said))]
    assert [(v.keep, v.reason) for v in found] == [
        (False, "rejected"), (True, "accepted"), (False, "malformed"), (False, "too_few_turns"),
    ]  # fmt: skip
    assert found[0].detail == "dull"


def test_a_decision_about_other_texts_says_nothing() -> None:
    rows = graded((LOOK, MOVE, DONE), (LOOK, DONE))
    texts = decisions.fingerprint(rows[0].trajectory)
    assert texts != decisions.fingerprint(rows[1].trajectory)
    for row, reason in zip(rows, ("rejected", "too_few_turns"), strict=True):
        judged = curate.sift(
            [row], curate.cold_filters(3, {row.trajectory.id: Decision(False, "", texts)})
        )
        assert [verdict.reason for _, verdict in judged] == [reason]
