"""ViLaSR's published files, and LLaMA-Factory's: problems, and trajectories that are told again."""

import json
from pathlib import Path
from typing import Any

import pytest

from assets.build import build
from assets.graph import NODES
from pipeline import protocol, rows, skills
from pipeline.imports import SourceError
from pipeline.protocol import FAMILIES, Picture
from pipeline.rollout import retrace
from pipeline.sources.conversation import asked as taken_apart
from pipeline.store import Store
from pipeline.types import Box, Kind, Modality, Point, Problem, Stop, Trajectory
from pipeline.versions import Version, VersionError
from tests.sources.conftest import ORIGIN, asked, lines, made, only, picture, reasons

COLD = {"skills": 0, "cold": 50, "reflective": 0, "rl": 0, "evaluation": 0}
RECORDED = {"policy": {"kind": "recorded"}, "sampling": {"samples": 1}}
STEP = (
    "<think> The dog is here. </think> Action: Object Mapper\n```json\n"
    '[{"index": 1, "bbox_2d": [10, 20, 60, 80], "label": "dog"}]\n```'
)
MOVED = STEP.replace('"index": 1', '"index": 2').replace("[10, 20", "[14, 24").replace("is", "sat")
LAST = "<think> It is left. </think> Action: Answer\n<answer> A </answer>"
QUESTION = "### Question:\nWhere is the dog?\nA. left\nB. right\nAnswer with the option's letter from the given choices directly.\n\nBegin your reasoning. After each tool use, critically evaluate:"  # noqa: E501


def rl(**changes: Any) -> dict[str, Any]:
    plain = {
        "question": "Where is the dog?", "options": ["left", "right"], "answer": "A",
        "image_path": ["pictures/0.png"], "question_type": "multiple choice", "data_type": "image",
        "grid_size": None,
    }  # fmt: skip
    return {**plain, **changes}


def talk(turns: list[str], images: list[str], user: str = "<image>\n" + QUESTION) -> dict[str, Any]:
    said = [{"role": "system", "content": "You draw."}, {"role": "user", "content": user}]
    for turn in turns:
        said += [
            {"role": "assistant", "content": turn},
            {"role": "user", "content": "<image>\nGo on."},
        ]
    return {"conversations": said[:-1], "images": images}


def of(form: str, name: str, **more: Any) -> Version:
    one = {"kind": "vilasr", "form": form, "path": "mine", "files": [name], **ORIGIN}
    teacher = {"teacher": RECORDED} if form == "sft" else {}
    return asked({"vilasr": one}, COLD if form == "sft" else {**COLD, "rl": 50}, **teacher, **more)


def trajectories(version: Version, tmp_path: Path) -> list[tuple[Problem, Trajectory | str]]:
    """What the teacher said, or the reason why nothing."""
    store = Store.at(tmp_path / "data")
    for asset in ("problems", "teacher_trajectories"):
        built = build(asset, version, store)
    asked_ = {p.id: p for p in built.inputs.problems("cold", pictures=True)}
    told = [rows.trajectory(row) for row in built.rows("trajectories")]
    failed = [(asked_[r["problem_id"]], r["detail"]) for r in built.rows("rejects")]
    return [*((asked_[t.problem_id], t) for t in told), *failed]


def test_rl_rows_become_problems_of_three_types(folder: Path) -> None:
    for n in range(18):
        picture(folder / "pictures" / f"{n}.png", n)
    frames = [f"pictures/{n}.png" for n in range(2, 18)]
    lines(
        folder / "rl.jsonl",
        [
            rl(),
            rl(question="How far?", options=[], answer=3.5, question_type="regression"),
            rl(question="How many?", options=None, answer="4", question_type="numerical",
               image_path=["pictures/0.png", "pictures/1.png"]),
            rl(question="How many pass?", answer="4", question_type="numerical", image_path=frames,
               data_type="video"),
            rl(question_type="free-form", answer="a dog"),
            rl(question_type=None),
            rl(question_type=["x"]),
            rl(image_path=["pictures/gone.png"]),
            rl(answer="C"),
        ],
    )  # fmt: skip
    kept, dropped = made(of("rl", "rl.jsonl"))
    by_row = {int(p.id[-6:]): p for ps in kept.values() for p in ps}
    assert (by_row[1].kind, by_row[1].options, by_row[1].answer) == (
        Kind.CHOICE,
        ("left", "right"),
        "A",
    )
    assert (by_row[2].kind, by_row[2].answer) == (Kind.NUMBER, "3.5")
    if 3 in by_row:
        assert by_row[3].modality is Modality.VIEWS
    assert (by_row[4].modality, len(by_row[4].images)) == (Modality.VIDEO, 16)
    assert [dropped[f"vilasr-{n:06d}"] for n in (5, 6, 7, 8, 9)] == [
        *["unknown_question_type"] * 3, "picture_missing", "answer_is_no_option",
    ]  # fmt: skip


def test_a_recorded_trajectory_is_told_again_to_the_letter(folder: Path, tmp_path: Path) -> None:
    picture(folder / "0.png", 0)
    images = ["0.png", "drawn-1.png", "drawn-2.png"]  # observations need not be there
    (folder / "sft.json").write_text(json.dumps([talk([STEP, MOVED, LAST], images)]))
    ((problem, told),) = trajectories(of("sft", "sft.json"), tmp_path)
    assert isinstance(told, Trajectory)
    assert (problem.question, problem.options, problem.answer) == (
        "Where is the dog?",
        ("left", "right"),
        "A",
    )
    assert [turn.text for turn in told.turns] == [STEP, MOVED, LAST]
    assert told.stop is Stop.ANSWERED
    assert len(retrace(problem, told).views) == 3


def test_coordinates_are_scaled_with_the_picture_and_faults_of_form_stay(
    folder: Path, tmp_path: Path
) -> None:
    picture(folder / "0.png", 0, 392, 280)  # comes in at half its size
    sloppy = STEP.replace("```json", "``` json")
    both = [talk([STEP, LAST], ["0.png", "1.png"]), talk([sloppy, LAST], ["0.png", "1.png"])]
    both[1]["conversations"][1]["content"] = "<image>\nWhere is the dog now?\nA. left\nB. right"
    (folder / "sft.json").write_text(json.dumps(both))
    told = [t for _, t in trajectories(of("sft", "sft.json"), tmp_path)]
    steps = [t.turns[0].parsed for t in told]  # type: ignore[union-attr]
    assert [s.ops[0] for s in steps] == [Box(1, (Point(5, 10), Point(30, 40)), "dog")] * 2  # type: ignore[union-attr]
    assert [s.lenient for s in steps] == [(), ("fence",)]  # type: ignore[union-attr]
    assert '"bbox_2d": [5, 10, 30, 40]' in told[0].turns[0].text  # type: ignore[union-attr]


def test_recorded_coordinates_are_converted_for_a_family_of_thousandths(
    folder: Path, tmp_path: Path
) -> None:
    picture(folder / "0.png", 0, 160, 96)
    (folder / "sft.json").write_text(json.dumps([talk([STEP, LAST], ["0.png", "1.png"])]))
    version = of("sft", "sft.json", family="qwen3-vl", canvas={"smallest": 128, "largest": 160})
    ((_, told),) = trajectories(version, tmp_path)
    assert '"bbox_2d": [62, 208, 375, 833]' in told.turns[0].text  # type: ignore[union-attr]
    assert told.turns[0].parsed.ops[0].p == ((10, 20), (60, 80))  # type: ignore[union-attr]


def test_imported_trajectories_are_executed_scored_and_filtered_like_any(
    folder: Path, tmp_path: Path
) -> None:
    picture(folder / "0.png", 0)
    wrong = STEP.replace('"index": 1', '"index": 7')
    rows_ = [
        talk([STEP, LAST], ["0.png", "1.png"], user=f"<image>\nWhere, {n}?\nA. left\nB. right")
        for n in range(3)
    ]
    rows_[1]["conversations"][2]["content"] = wrong  # draws on a picture that is not there
    rows_[2]["conversations"][2]["content"] = "no action at all"
    (folder / "sft.json").write_text(json.dumps(rows_))
    version, store = of("sft", "sft.json"), Store.at(tmp_path / "data")
    for asset in NODES:
        if asset in ("problems", "teacher_trajectories", "cold_set"):
            built = build(asset, version, store)
    assert built.manifest.facts["yield"] == {"kept": 1, "bad_op": 1, "malformed": 1}


def test_a_problem_without_a_recording_is_a_failure_and_no_crash(
    folder: Path, tmp_path: Path
) -> None:
    picture(folder / "0.png", 0)
    (folder / "sft.json").write_text(json.dumps([talk([STEP, LAST], ["0.png", "1.png"])]))
    lines(
        folder / "annotations.jsonl", [{"picture": "0.png", "question": "How many?", "answer": 1}]
    )
    one = {"kind": "vilasr", "form": "sft", "path": "mine", "files": ["sft.json"], **ORIGIN}
    other = {"kind": "folder", "path": "mine", **ORIGIN}
    version = asked({"talk": one, "plain": other}, COLD, teacher=RECORDED)
    found = {p.task: t for p, t in trajectories(version, tmp_path)}
    assert found["plain"] == "nothing is recorded"
    assert isinstance(found["talk"], Trajectory)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": ["0.png"]}, "images_disagree"),
        ({"images": None}, "images_disagree"),
        ({"conversations": "none"}, "not_a_conversation"),
        ({"conversations": []}, "not_a_conversation"),
        ({"conversations": [{"role": "user"}, {"role": "assistant"}]}, "not_a_conversation"),
        ({"conversations": [{"role": "user", "content": "a"}] * 2}, "not_a_conversation"),
        (talk([STEP], ["0.png"]), "no_answer"),
        (talk([LAST], ["0.png"], user="no place for a picture"), "images_disagree"),
        (talk([LAST.replace("A <", "C <")], ["0.png"]), "answer_is_no_option"),
        (talk([LAST], ["../0.png"]), "picture_outside"),
    ],
)
def test_a_conversation_that_is_none_is_a_row_dropped(
    folder: Path, changes: dict[str, Any], reason: str
) -> None:
    picture(folder / "0.png", 0)
    row = {**talk([STEP, LAST], ["0.png", "1.png"]), **changes}
    (folder / "sft.json").write_text(json.dumps([row]))
    assert reasons(of("sft", "sft.json")) == [reason]


def test_recorded_needs_conversations_and_one_sample(folder: Path) -> None:
    with pytest.raises(VersionError, match="recorded needs an import with conversations"):
        asked({"mine": {"kind": "folder", "path": "mine", **ORIGIN}}, teacher=RECORDED)
    twice = {"policy": {"kind": "recorded"}, "sampling": {"samples": 2}}
    with pytest.raises(VersionError, match="samples 1"):
        asked({"mine": {"kind": "folder", "path": "mine", **ORIGIN}}, teacher=twice)


# Round trip --------------------------------------------------------------------------------------


def shown(problem: Problem, told: Trajectory) -> tuple[list[dict[str, str]], int]:
    """A trajectory in sharegpt's messages, as it is specified for ViLaSR, and how many pictures."""
    state = retrace(problem, told)
    said = protocol.render(state, FAMILIES["qwen2.5-vl"], 10)
    parts = [
        (m.role, "".join("<image>" if isinstance(p, Picture) else p for p in m.parts)) for m in said
    ]
    return [{"role": role, "content": text} for role, text in parts], len(state.views)


@pytest.mark.parametrize("form", ["vilasr", "sharegpt"])
def test_what_is_written_as_specified_comes_back_equal(
    folder: Path, tmp_path: Path, form: str
) -> None:
    written = []
    tasks = {"counting": {}, "maze": {"difficulty": [0, 0.3]}, "motion": {}}
    source = asked({}, {**COLD, "cold": 9}, problems={"tasks": tasks, "imports": {}})
    for n, problem in enumerate(made(source)[0]["cold"]):
        told = skills.gold(problem, source.limits, source.wire)
        messages, count = shown(problem, told)
        names = [f"pictures/{n}-{k}.png" for k in range(count)]
        for image, name in zip(problem.images, names, strict=False):
            (folder / "pictures").mkdir(exist_ok=True)
            (folder / name).write_bytes(image.png)
        written.append((problem, told, {"conversations": messages, "images": names}))
    (folder / "sft.json").write_text(json.dumps([row for *_, row in written]))
    if form == "vilasr":
        version = of("sft", "sft.json")
    else:
        tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user",
                "assistant_tag": "assistant", "system_tag": "system"}  # fmt: skip
        told_of = {"file_name": "sft.json", "formatting": "sharegpt", "tags": tags}
        (folder / "dataset_info.json").write_text(json.dumps({"cold": told_of}))
        one = {"kind": "sharegpt", "path": "mine", "dataset": "cold", **ORIGIN}
        version = asked({"mine": one}, COLD, teacher=RECORDED)
    back = {int(p.id[-6:]): (p, t) for p, t in trajectories(version, tmp_path)}
    for n, (problem, told, _) in enumerate(written, 1):
        again, retold = back[n]
        for name in ("images", "question", "options", "answer", "kind"):
            assert getattr(again, name) == getattr(problem, name), name
        assert isinstance(retold, Trajectory)
        assert (retold.turns, retold.stop) == (told.turns, told.stop)


def test_rl_rows_written_as_specified_come_back_equal(folder: Path) -> None:
    tasks = {"counting": {}, "relation": {}, "views": {}}
    source = asked({}, {**COLD, "cold": 9}, problems={"tasks": tasks, "imports": {}})
    problems = made(source)[0]["cold"]
    for n, problem in enumerate(problems):
        for k, image in enumerate(problem.images):
            (folder / f"{n}-{k}.png").write_bytes(image.png)
    lines(
        folder / "rl.jsonl",
        [
            rl(
                question=p.question, options=list(p.options), answer=p.answer,
                image_path=[f"{n}-{k}.png" for k in range(len(p.images))],
                question_type="multiple choice" if p.options else "numerical",
            )
            for n, p in enumerate(problems)
        ],
    )  # fmt: skip
    kept, dropped = made(of("rl", "rl.jsonl"))
    assert not dropped
    back = {int(p.id[-6:]): p for ps in kept.values() for p in ps}
    for n, problem in enumerate(problems, 1):
        for name in ("images", "question", "options", "answer", "kind", "modality"):
            assert getattr(back[n], name) == getattr(problem, name), name


@pytest.mark.parametrize(
    ("text", "question", "options"),
    [
        (QUESTION, "Where is the dog?", ["left", "right"]),
        ("How many?", "How many?", []),
        ("Is A. Smith here?\nOptions:\n(A) yes\n(B) no", "Is A. Smith here?", ["yes", "no"]),
        ("Two\nlines?\nA. A. Smith\nB. B", "Two\nlines?", ["A. Smith", "B"]),
    ],
)
def test_a_first_message_is_taken_apart(text: str, question: str, options: list[str]) -> None:
    assert taken_apart(text) == (question, options)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("not json", "cannot be read"),
        ("[]", "describes no dataset 'cold'; there are none"),
        ('{"warm": {}}', "there are 'warm'"),
        ('{"cold": {"file_name": "x.json"}}', "no file in sharegpt"),
        ('{"cold": {"file_name": 3, "formatting": "sharegpt"}}', "no file in sharegpt"),
        ('{"cold": {"file_name": "../x.json", "formatting": "sharegpt"}}', "inside a folder"),
        ('{"cold": {"file_name": "x.json", "formatting": "sharegpt"}}', "x.json is not there"),
    ],
)
def test_a_dataset_info_that_names_nothing_is_refused(folder: Path, told: str, said: str) -> None:
    (folder / "dataset_info.json").write_text(told)
    one = {"kind": "sharegpt", "path": "mine", "dataset": "cold", **ORIGIN}
    with pytest.raises(SourceError, match=said):
        made(asked({"mine": one}))


def test_a_data_file_that_leads_out_of_the_folder_is_not_read(folder: Path) -> None:
    (folder.parent / "secret.jsonl").write_text('{"conversations": [], "images": []}\n')
    (folder / "data").mkdir()
    (folder / "data" / "rows.jsonl").symlink_to(folder.parent / "secret.jsonl")
    told = {"cold": {"file_name": "data", "formatting": "sharegpt"}}
    (folder / "dataset_info.json").write_text(json.dumps(told))
    one = {"kind": "sharegpt", "path": "mine", "dataset": "cold", **ORIGIN}
    with pytest.raises(SourceError, match=r"rows\.jsonl.* leads to .*secret.*: it must lie beside"):
        made(asked({"mine": one}))


def test_a_row_of_llama_factorys_own_tags_is_read(folder: Path) -> None:
    picture(folder / "0.png", 0)
    said = [
        {"from": "human", "value": "<image>How many?"},
        {"from": "gpt", "value": LAST.replace("A <", "2 <")},
    ]
    lines(folder / "x.jsonl", [{"conversations": said, "images": ["0.png"]}])
    told = {"cold": {"file_name": "x.jsonl", "formatting": "sharegpt"}}
    (folder / "dataset_info.json").write_text(json.dumps(told))
    one = {"kind": "sharegpt", "path": "mine", "dataset": "cold", **ORIGIN}
    assert only(asked({"mine": one})).answer == "2"
