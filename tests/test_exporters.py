"""Exporters: what is written is what was told, in every format, and nothing is lost on the way."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Features, load_dataset
from PIL import Image as Pillow

from assets.bodies import TABLES
from pipeline import canvas, images, protocol, rows, skills
from pipeline.exporters import EXPORTERS, SETS
from pipeline.exporters.card import Story, Yield, size_category
from pipeline.exporters.export import Given, Report, export, format_of
from pipeline.exporters.files import ExportError, arriving
from pipeline.exporters.origins import OURS, Origin, origins
from pipeline.exporters.told import (
    SPECIAL,
    FamilyMismatch,
    Omitted,
    Target,
    Told,
    Why,
    chat,
    flat,
    tell,
)
from pipeline.protocol import FAMILIES
from pipeline.rollout import Limits, read_turn, retrace
from pipeline.rows import Row
from pipeline.sources import SOURCES
from pipeline.tasks import TASKS
from pipeline.types import Answer, Box, Problem, Step, Stop, Trajectory
from tests.conftest import box, line, plain_problem, run

if TYPE_CHECKING:
    from tests.trainers.conftest import Small

PIXELS, RELATIVE = FAMILIES["qwen2.5-vl"], FAMILIES["qwen3-vl"]
STORY = Story(
    version="tiny",
    description="for tests",
    family="qwen2.5-vl",
    writer="nobody",
    stages=[Yield("cold_set", 2, {"unsolved": 1})],
    versions={"drawloop": "0"},
    recipe={"problems": {"seed": 1}},
    origins=[Origin("counting", "drawn", OURS)],
)
EVERY = [(name, set_) for name in EXPORTERS for set_ in EXPORTERS[name]().takes]


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))


def looked_again() -> Trajectory:
    """A box that is off, drawn again, then a line and the answer."""
    steps = [
        Step("The cat is here.", (box(10, 30, 60, 90, "cat"),)),
        Step("A little lower.", (box(20, 20, 80, 80, "cat", 2), line(5, 7, 200, 211, "way", 1))),
        Answer("The cat.", "A"),
    ]
    told = run(plain_problem(), steps)
    assert isinstance(told, Trajectory)
    assert told.stop is Stop.ANSWERED
    return told


def row(problem: Problem, trajectory: Trajectory | None = None) -> Row:
    """A native row; without a trajectory one of the RL set."""
    wire = {"family": "qwen2.5-vl", "max_turns": 10, "max_images": 42}
    if trajectory is None:
        passed = {"solved_samples": 1, "samples": 4, "pass_rate": 0.25, "mean_total": 0.5}
        return {**rows.problem_row(problem), **passed, **wire}
    return {**rows.problem_row(problem), **rows.trajectory_row(trajectory), **wire}


def problems() -> Iterator[Problem]:
    """One of every task, and the plain one."""
    for task in TASKS:
        made = TASKS[task]()(width=112, height=140, difficulty=0.5, wording="varied")
        problem = made.sample(Random("exporters"))
        yield Problem(**{**_fields(problem), "id": f"{task}-rl-0"})
    yield plain_problem()


def _fields(problem: Problem) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in Problem.__slots__}


def given(set_: str) -> Given:
    """Every task's gold solution, and one that was drawn again; or the problems alone."""
    schema = TABLES["rl_export" if set_ == "rl" else "export"]["train"]
    if set_ == "rl":
        return Given(set_, through_arrow([row(problem) for problem in problems()], schema), schema)
    told = [row(p, skills.gold(p, Limits(), PIXELS)) for p in problems()]
    return Given(set_, through_arrow([*told, row(plain_problem(), looked_again())], schema), schema)


def through_arrow(made: list[Row], schema: pa.Schema) -> list[Row]:
    return pa.Table.from_pylist(made, schema=schema).to_pylist()  # type: ignore[no-any-return]


def written(name: str, set_: str, folder: Path, target: Target = Target()) -> Report:  # noqa: B008
    return export(name, given(set_), target, folder, STORY)


def stored(folder: Path) -> list[Row]:
    """The rows of an export, read without any framework."""
    if (folder / "train.jsonl").exists():
        return [json.loads(text) for text in (folder / "train.jsonl").read_text().splitlines()]
    if (folder / "train.json").exists():
        made: list[Row] = json.loads((folder / "train.json").read_text())
        return made
    return pq.ParquetDataset(sorted((folder / "data").iterdir())).read().to_pylist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("name", "set_"), EVERY)
def test_every_row_is_written_with_a_place_for_each_picture(
    name: str, set_: str, tmp_path: Path
) -> None:
    report = written(name, set_, tmp_path / "out")
    came = stored(tmp_path / "out")
    assert report.read == report.written == len(came) == len(list(given(set_).rows))
    assert report.omitted == {}
    assert report.pictures == report.placeholders >= report.written
    column = "image_path" if name == "vilasr-rl" else "images"
    assert sum(len(each[column]) for each in came) == report.pictures
    assert json.loads((tmp_path / "out" / "report.json").read_text())["written"] == len(came)


@pytest.mark.parametrize(("name", "set_"), EVERY)
def test_a_folder_is_loaded_as_it_is_and_its_card_tells_the_columns(
    name: str, set_: str, tmp_path: Path
) -> None:
    report = written(name, set_, tmp_path / "out")
    loaded = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(loaded) == report.written
    front = (tmp_path / "out" / "README.md").read_text().split("---\n")[1]
    said = yaml.safe_load(front)
    assert (said["license"], said["size_categories"]) == ("apache-2.0", ["n<1K"])
    named = [feature["name"] for feature in said["dataset_info"]["features"]]
    assert named == list(loaded.features) == loaded.column_names
    assert Features._from_yaml_list(said["dataset_info"]["features"]) == loaded.features


@pytest.mark.parametrize("name", ["trl-sft", "llamafactory", "verl-sft", "ms-swift", "vilasr-sft"])
def test_pictures_are_the_inputs_and_then_what_was_drawn(name: str, tmp_path: Path) -> None:
    written(name, "cold", tmp_path / "out")
    problem, last = plain_problem(), stored(tmp_path / "out")[-1]
    state = retrace(problem, looked_again())
    expected = [canvas.pixels(problem, view) for view in state.views]
    assert len(expected) == 4
    for picture, pixels in zip(last["images"], expected, strict=True):
        data = (
            picture["bytes"]
            if isinstance(picture, dict)
            else (tmp_path / "out" / picture).read_bytes()
        )
        assert np.array_equal(np.asarray(Pillow.open(io.BytesIO(data)).convert("RGB")), pixels)


@pytest.mark.parametrize(("name", "set_"), [("trl-sft", "cold"), ("vilasr-sft", "cold")])
def test_the_same_set_gives_the_same_bytes(name: str, set_: str, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        written(name, set_, tmp_path / folder)
    files = [
        {
            p.relative_to(tmp_path / f): p.read_bytes()
            for p in (tmp_path / f).rglob("*")
            if p.is_file()
        }
        for f in ("a", "b")
    ]
    assert files[0] == files[1]


def test_texts_end_with_the_models_last_turn_and_say_what_it_said(tmp_path: Path) -> None:
    written("llamafactory", "skills", tmp_path / "out")
    for each, native in zip(stored(tmp_path / "out"), given("skills").rows, strict=True):
        roles = [turn["role"] for turn in each["conversations"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        spoken = [t["content"] for t in each["conversations"] if t["role"] == "assistant"]
        assert spoken == [turn["text"] for turn in native["turns"]]
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert info["drawloop"]["columns"]["system"] == "system"


def test_vilasrs_rows_have_its_words_for_kinds_and_types(tmp_path: Path) -> None:
    written("vilasr-rl", "rl", tmp_path / "out")
    came = {each["id"]: each for each in stored(tmp_path / "out")}
    maze, plain = came["maze-rl-0"], came["plain-1"]
    assert (maze["data_type"], maze["question_type"]) == ("maze", "multiple choice")
    assert maze["grid_size"] >= 2
    assert plain["options"] == ["A. cat", "B. dog", "C. cow"]
    assert (plain["answer"], plain["grid_size"], plain["data_type"]) == ("A", None, "vqa")
    assert came["counting-rl-0"]["question_type"] == "numerical"
    assert {each["data_type"] for each in came.values()} == {"maze", "vqa", "spatial_r1", "video"}


# Coordinates -------------------------------------------------------------------------------------


def test_another_familys_texts_say_the_same_marks_in_its_coordinates() -> None:
    problem, trajectory = plain_problem(), looked_again()
    told = tell(row(problem, trajectory), Target("qwen2-vl"))
    assert isinstance(told, Told)
    spoken = [flat(message) for message in told.messages if message.role == "assistant"]
    assert spoken[0] != trajectory.turns[0].text
    assert "[45, 134, 268, 402]" in spoken[0]  # 10, 30, 60, 90 of 224
    state = canvas.opened(problem)
    for text, before in zip(spoken[:-1], trajectory.turns, strict=False):
        turn = read_turn(state, text, FAMILIES["qwen2-vl"])
        assert turn.parsed == before.parsed
        assert isinstance(turn.parsed, Step)
        state = canvas.execute(state, turn.parsed)
    assert retrace(problem, trajectory).views == told.views
    assert spoken[-1] == trajectory.turns[-1].text
    assert "thousandths" in flat(told.messages[0])


def test_thousandths_become_pixels_of_the_same_grid() -> None:
    problem, trajectory = plain_problem(), looked_again()
    there = tell(row(problem, trajectory), Target("qwen2-vl"))
    assert isinstance(there, Told)
    turns = tuple(
        turn.__class__(text=said, parsed=turn.parsed)
        for turn, said in zip(
            trajectory.turns,
            (flat(m) for m in there.messages if m.role == "assistant"),
            strict=True,
        )
    )
    spoken = Trajectory(problem.id, 0, turns, trajectory.stop)
    back = tell({**row(problem, spoken), "family": "qwen2-vl"}, Target("qwen2.5-vl"))
    same = tell(row(problem, trajectory), Target())
    assert isinstance(back, Told)
    assert isinstance(same, Told)
    assert back.messages == same.messages


def test_a_thin_box_is_drawn_where_its_text_says(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = plain_problem(images=(images.encode(np.zeros((28, 2240, 3), np.uint8)),))
    thin = Step("Thin.", (box(2239, 0, 2240, 28, "cat"),))
    trajectory = run(wide, [thin, Answer("So.", "A")])
    assert isinstance(trajectory, Trajectory)
    told = tell(row(wide, trajectory), Target("qwen2-vl"))
    assert isinstance(told, Told)
    (mark,) = told.views[1].marks
    assert isinstance(mark.op, Box)
    read = read_turn(canvas.opened(wide), flat(told.messages[2]), FAMILIES["qwen2-vl"])
    assert isinstance(read.parsed, Step)
    left = read.parsed.ops[0].p[0].x
    assert mark.op.p[0].x == min(left, 2240)


def test_pixels_of_another_grid_are_refused() -> None:
    strange = {**row(plain_problem()), "family": "qwen3-vl"}
    with pytest.raises(FamilyMismatch, match=r"grid of 28 px.* 32 px .*build the version anew"):
        tell(strange, Target("qwen2.5-vl"))


def test_a_relative_family_of_another_grid_is_told_that_pictures_are_resized() -> None:
    told = tell(row(plain_problem(), looked_again()), Target("qwen3-vl"))
    assert isinstance(told, Told)
    assert told.resized == 0  # 224 is a multiple of 32 too
    odd = plain_problem(images=(images.encode(np.zeros((140, 140, 3), np.uint8)),))
    told = tell(row(odd), Target("qwen3-vl"))
    assert isinstance(told, Told)
    assert told.resized == 1


def test_a_fault_that_was_told_cannot_be_said_in_other_coordinates() -> None:
    trajectory = run(plain_problem(), ["no action", Answer("So.", "A")], Limits(tell_faults=True))
    assert isinstance(trajectory, Trajectory)
    assert tell(row(plain_problem(), trajectory), Target("qwen2-vl")) == Omitted(
        "plain-1#0", Why.NOT_CONVERTIBLE
    )
    assert isinstance(tell(row(plain_problem(), trajectory), Target()), Told)


# What is omitted ---------------------------------------------------------------------------------

TEXTS = [
    "<image>", "<video>", "<audio>", "<image", "image>", "<Image>", "<img>", "&lt;image&gt;",
    "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>", "<|im_end|>", "<bbox>",
    "<ref-object>", "two\nlines", "\u202e reversed", "🎉 \U0001f468\u200d\U0001f469", "{}",
    "\\u003cimage>", "a\0b",
]  # fmt: skip


def hostile(set_: str, text: str) -> Iterator[Row]:
    """A row with the text in each place that a person or a model writes."""
    said = f"So {text} it is"
    asked: list[dict[str, Any]] = [
        {"question": f"Which {text}?"},
        {"options": (text, "dog", "cow")},
        {"task": text, "conclusion": text},
    ]
    for n, changes in enumerate(asked):
        problem = plain_problem(id=f"asked-{n}", **changes)
        told = run(problem, [Step("It.", (box(20, 20, 80, 80),)), Answer("So.", "A")])
        assert isinstance(told, Trajectory)
        yield row(problem) if set_ == "rl" else row(problem, told)
    if set_ == "rl":
        return
    thoughts = [
        Step(said, (box(20, 20, 80, 80),)),
        Step("It.", (box(20, 20, 80, 80, f"l {text}".replace("\0", "")),)),
    ]
    for n, step in enumerate(thoughts):
        problem = plain_problem(id=f"said-{n}")
        told = run(problem, [step, Answer(said, "A")])
        assert isinstance(told, Trajectory)
        yield row(problem, told)


def spoken(name: str, each: Row) -> list[str]:
    """The texts of a format's row in which its loader looks for places of pictures."""
    if name.startswith("trl"):
        messages = each["messages" if name == "trl-sft" else "prompt"]
        return [part["text"] for m in messages for part in m["content"] if part["type"] == "text"]
    if name == "easyr1":
        return [each["problem"]]
    if name == "vilasr-rl":
        return [each["question"], *each["options"]]
    turns = each.get("messages") or each.get("prompt") or each["conversations"]
    return [turn["content"] for turn in turns] + ([each["system"]] if "system" in each else [])


@pytest.mark.parametrize(("name", "set_"), EVERY)
def test_no_text_of_a_row_makes_a_place_that_has_no_picture(
    name: str, set_: str, tmp_path: Path
) -> None:
    if name == "native":
        return  # nothing is read as a place there
    schema = TABLES["rl_export" if set_ == "rl" else "export"]["train"]
    made = [each for text in TEXTS for each in hostile(set_, text)]
    report = export(name, Given(set_, through_arrow(made, schema), schema), Target(),
                    tmp_path / "out", STORY)  # fmt: skip
    chosen, came = EXPORTERS[name](), stored(tmp_path / "out")
    assert set(report.omitted) <= {Why.PLACEHOLDER}
    assert report.written + report.omitted.total() == len(made)
    assert report.written >= len(made) // 3
    column = "image_path" if name == "vilasr-rl" else "images"
    for each in came:
        told = "\n".join(spoken(name, each))
        own = 0 if name.startswith("trl") or name == "vilasr-rl" else len(each[column])
        assert not any(tag in told for tag in SPECIAL)
        assert [told.count(tag) for tag in chosen.tags] == [
            own if tag == "<image>" else 0 for tag in chosen.tags
        ]
    assert {"<image>"} <= {*chosen.tags} or name.startswith("trl")


def test_a_row_that_is_too_long_is_left_out_and_counted(tmp_path: Path) -> None:
    every = [tell(each, Target()) for each in given("cold").rows]
    lengths = sorted(told.tokens for told in every if isinstance(told, Told))
    middle = lengths[len(lengths) // 2]
    report = written("trl-sft", "cold", tmp_path / "out", Target(max_tokens=middle))
    kept = sum(length <= middle for length in lengths)
    assert (report.written, report.longest) == (kept, middle)
    assert report.omitted == {"too_long": len(lengths) - kept}
    assert (
        f"| omitted, by reason | too_long {len(lengths) - kept} |"
        in (tmp_path / "out" / "README.md").read_text()
    )


@pytest.mark.parametrize("text", ["<image>", "<|image_pad|>", "<|im_end|>"])
def test_a_text_that_a_loader_takes_for_a_picture_is_left_out(text: str, tmp_path: Path) -> None:
    forged = plain_problem(question=f"Which {text} is it?")
    schema = TABLES["rl_export"]["train"]
    made = Given("rl", through_arrow([row(forged), row(plain_problem())], schema), schema)
    report = export("verl-rl", made, Target(), tmp_path / "out", STORY)
    assert (report.written, report.omitted) == (1, {"placeholder_in_text": 1})
    plain = tell(row(forged), Target())
    assert isinstance(plain, Told) == (text == "<image>")  # where pictures are parts, it is text


def test_the_processor_counts_what_it_makes_of_the_row(small: "Small") -> None:
    problem = plain_problem()
    target = Target(small.name, processor=small.processor)
    told = tell(row(problem, looked_again()), target)
    assert isinstance(told, Told)
    text = small.processor.apply_chat_template(chat(told.messages), tokenize=False)
    pictures = [Pillow.fromarray(canvas.pixels(problem, view)) for view in told.views]
    made = small.processor(images=pictures, text=[text])
    assert told.tokens == len(made["input_ids"][0])
    assert len(pictures) == len(made["image_grid_thw"])


def test_a_picture_that_the_processor_would_resize_is_left_out(one: "Small") -> None:
    limits = one.processor.image_processor.size
    wide = plain_problem(images=(images.encode(np.zeros((28, 28, 3), np.uint8)),))
    assert limits["shortest_edge"] > 28 * 28
    told = tell(row(wide), Target(one.name, processor=one.processor))
    assert told == Omitted("plain-1", Why.RESIZED)


# Places and cards --------------------------------------------------------------------------------


def test_a_format_says_which_sets_it_takes() -> None:
    with pytest.raises(ExportError, match="trl-grpo takes rl, and not cold"):
        format_of("trl-grpo", "cold")
    with pytest.raises(ExportError, match="no format 'trl'; there are native, trl-sft"):
        format_of("trl", "cold")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ExportError), arriving(tmp_path / "mine", overwrite=overwrite):
            pytest.fail("not to be written")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    with pytest.raises(ExportError, match="is a file"), arriving(tmp_path / "mine" / "thesis.txt"):
        pytest.fail("not to be written")


def test_a_folder_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    for set_ in ("cold", "rl"):
        export("ms-swift", given(set_), Target(), tmp_path / "out", STORY, overwrite=True)
        told = json.loads((tmp_path / "disk" / "report.json").read_text())
        assert told["set"] == set_
    assert (tmp_path / "out").is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "hf") == ["disk", "out"]


def test_an_export_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    written("trl-sft", "cold", tmp_path / "out")
    before = (tmp_path / "out" / "report.json").read_text()
    with pytest.raises(ExportError, match="say --overwrite"):
        written("trl-sft", "cold", tmp_path / "out")
    broken = given("cold")

    def cut() -> Iterator[Row]:
        yield from list(broken.rows)[:2]
        raise RuntimeError("the power went")

    with pytest.raises(RuntimeError):
        export(
            "trl-sft",
            Given("cold", cut(), broken.schema),
            Target(),
            tmp_path / "out",
            STORY,
            overwrite=True,
        )
    assert (tmp_path / "out" / "report.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir() if path.name != "hf"] == ["out"]
    export("verl-sft", given("cold"), Target(), tmp_path / "out", STORY, overwrite=True)
    assert (tmp_path / "out" / "report.json").read_text() != before


def test_an_empty_set_is_a_set(tmp_path: Path) -> None:
    for name, set_ in EVERY:
        empty = Given(set_, [], given(set_).schema)
        report = export(name, empty, Target(), tmp_path / f"{name}-{set_}", STORY)
        assert (report.read, report.written, stored(tmp_path / f"{name}-{set_}")) == (0, 0, [])


def test_the_licence_of_every_source_is_known() -> None:
    told = origins(TASKS, SOURCES)
    assert all(origin.licence and origin.origin for origin in told)
    assert {"Apache-2.0", "CC0", "public domain"} <= {origin.licence for origin in told}


def test_a_card_says_when_licences_differ(tmp_path: Path) -> None:
    mixed = STORY.__class__(
        **{
            **{name: getattr(STORY, name) for name in Story.__slots__},
            "origins": origins(["maze"], ["photos"]),
        }
    )
    export("trl-sft", given("cold"), Target(), tmp_path / "out", mixed)
    page = (tmp_path / "out" / "README.md").read_text()
    assert yaml.safe_load(page.split("---\n")[1])["license"] == "other"
    assert "Brooklyn Museum" in page
    assert "| cold_set | 2 | unsolved 1 |" in page


def test_sizes_have_the_hubs_words() -> None:
    assert [size_category(n) for n in (0, 999, 1000, 99_999, 10**6)] == [
        "n<1K", "n<1K", "1K<n<10K", "10K<n<100K", "n>1M",
    ]  # fmt: skip


def test_every_set_has_a_format_for_sft_or_rl() -> None:
    for set_ in SETS:
        takers = [name for name in EXPORTERS if set_ in EXPORTERS[name]().takes]
        assert len(takers) >= 5, takers


def test_what_protocol_renders_is_what_is_told() -> None:
    problem, trajectory = plain_problem(), looked_again()
    told = tell(row(problem, trajectory), Target())
    assert isinstance(told, Told)
    assert told.messages == protocol.render(retrace(problem, trajectory), PIXELS, 10)
