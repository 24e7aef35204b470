"""Version files: every shipped one loads, and a wrong one is refused in words that help."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import versions
from pipeline.decisions import Decision
from pipeline.mix import EVERY_SPLIT, TRAINING_UNITS
from pipeline.policies import MODELS, TRAINED
from pipeline.protocol import FAMILIES
from pipeline.reflection import Tolerance
from pipeline.reward import Rules
from pipeline.rollout import Limits
from pipeline.sources import SOURCES
from pipeline.tasks import TASKS
from pipeline.teachers.oracle import Rates
from pipeline.types import SPLITS
from pipeline.versions import Version, VersionError, load, names, parse

SHIPPED = Path(versions.__file__).parent.parent / "versions"
GOOD = """\
description: A small mix, for tests.
seed: 3
family: qwen2.5-vl
canvas: {smallest: 112, largest: 224}
problems:
  tasks:
    maze: {share: 2, difficulty: [0.0, 0.7]}
    counting: {}
  sources:
    photos: {}
  splits: {skills: 1, cold: 2, reflective: 3, rl: 4, evaluation: 5}
teacher:
  policy: {kind: oracle, rates: {slip: 0.1}}
  sampling: {samples: 4}
cold_model:
  policy: {kind: checkpoint, model: somewhere/cold}
  sampling: {samples: 4, temperature: 0.5, top_p: 0.8, max_tokens: 512}
reflective_model:
  policy: {kind: oracle}
  sampling: {samples: 8}
filters:
  reflective: {rule: strict}
"""

GONE = object()


def edited(place: str, value: Any) -> str:
    """The good file with one field set, or taken out."""
    content = yaml.safe_load(GOOD)
    *above, last = place.split("/")
    inner = content
    for part in above:
        inner = inner.setdefault(part, {})
    if value is GONE:
        del inner[last]
    else:
        inner[last] = copy.deepcopy(value)
    return yaml.safe_dump(content)


def refusal(text: str, name: str = "trial") -> str:
    with pytest.raises(VersionError) as caught:
        parse(name, text)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRAWLOOP_VERSIONS", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRAWLOOP_VERSIONS", raising=False)


# Files that are right ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
def test_every_shipped_version_loads(name: str) -> None:
    version = load(name)
    assert version.name == name
    assert version.description.strip()
    assert set(version.problems.splits) == set(EVERY_SPLIT)
    assert {*version.problems.tasks} <= {*TASKS}
    assert {*version.problems.sources} <= {*SOURCES}
    assert (version.canvas.largest // version.wire.unit) ** 2 <= TRAINING_UNITS


def test_all_shipped_versions_are_listed_in_order() -> None:
    assert names() == sorted(path.stem for path in SHIPPED.glob("*.yaml"))
    assert {"mini", "oracles", "paper", "photos"} <= {*names()}


def test_mini_trains_every_model_and_oracles_none() -> None:
    mini = load("mini")
    assert mini.trains
    assert [mini.is_trained(seat) for seat in ("cold_model", "reflective_model", "grpo_model")] == [
        True, True, True,
    ]  # fmt: skip
    assert mini.policy("base_model").kind == "tiny"
    assert not load("oracles").trains
    assert not load("paper").trains


def test_fields_come_out_as_they_are_written() -> None:
    version = parse("trial", GOOD)
    assert version.name == "trial"
    assert version.seed == 3
    assert version.wire is FAMILIES["qwen2.5-vl"]
    assert version.problems.tasks["maze"].share == 2
    assert version.problems.tasks["maze"].difficulty == (0.0, 0.7)
    assert version.problems.splits["rl"] == 4
    assert version.teacher.policy.kind == "oracle"
    assert version.teacher.policy.rates == {"slip": 0.1}
    assert version.cold_model.policy.kind == "checkpoint"
    assert version.cold_model.policy.model == "somewhere/cold"
    assert version.cold_model.sampling.max_tokens == 512


def test_what_a_file_leaves_out_is_as_in_the_paper() -> None:
    version = parse("trial", GOOD)
    assert version.limits == Limits(
        max_turns=10,
        task_turns=(("maze", 20),),
        max_images=42,
        max_context=32_768,
        repeats=Tolerance(1.0, 0.0),
        tell_faults=False,
    )
    assert version.rules == Rules(0.0, 0.9, 0.0)
    assert version.filters.cold.min_turns == 3
    sampling = version.teacher.sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0.75, 0.9, 1024)


def test_limits_and_rules_are_those_of_the_file() -> None:
    extra = """
rollout: {max_turns: 4, task_turns: {motion: 6}, max_images: 9, max_context: 5000, repeat_iou: 0.9,
  repeat_ends: 2.5, on_fault: tell}
score: {beta: 0.25, solved_at: 0.8, w_draw: 1.5}
"""
    version = parse("trial", GOOD + extra)
    assert version.limits == Limits(4, (("motion", 6),), 9, 5000, Tolerance(0.9, 2.5), True)
    assert version.rules == Rules(0.25, 0.8, 1.5)


TRAINS = {"kind": "train", "lr": 1e-4, "epochs": 2.0, "lora_rank": 8, "freeze_vision": True}


def trained(**changes: Any) -> dict[str, Any]:
    """The good file with every model trained here."""
    content = yaml.safe_load(GOOD)
    content["base_model"] = {"kind": "checkpoint", "model": "somewhere/base"}
    content["cold_model"]["policy"] = dict(TRAINS)
    content["reflective_model"]["policy"] = {"kind": "train"}
    content["grpo_model"] = {"kind": "train", "steps": 5}
    return {**content, **changes}


def with_policy(seat: str, **fields: Any) -> dict[str, Any]:
    """What to change so that a seat is trained otherwise."""
    return {seat: {"policy": {"kind": "train", **fields}, "sampling": {"samples": 2}}}


def test_models_that_are_trained_come_out_as_they_are_written() -> None:
    version = parse("trial", yaml.safe_dump(trained()))
    assert version.trains
    cold = version.policy("cold_model")
    assert (cold.lr, cold.epochs, cold.lora_rank, cold.freeze_vision) == (1e-4, 2.0, 8, True)
    assert (cold.batch, cold.micro_batch, cold.warmup, cold.beta2) == (32, 4, 0.1, 0.999)
    grpo = version.policy("grpo_model")
    assert (grpo.steps, grpo.samples, grpo.clip_low, grpo.clip_high) == (5, 8, 0.2, 0.3)
    assert grpo.w_draw is None
    assert version.policy("teacher").kind == "oracle"


def test_a_model_starts_from_the_one_before_it_and_learns_its_set_unless_it_says_others() -> None:
    content = trained()
    version = parse("trial", yaml.safe_dump(content))
    assert [version.start(seat) for seat in TRAINED] == list(MODELS[:3])
    assert [version.data(seat) for seat in TRAINED] == [
        ("skills", "cold"),
        ("reflective",),
        ("rl",),
    ]
    content["reflective_model"]["policy"] |= {"start": "base_model", "data": ["cold", "reflective"]}
    content["grpo_model"] |= {"start": "cold_model"}
    version = parse("trial", yaml.safe_dump(content))
    assert [version.start(seat) for seat in TRAINED] == ["base_model", "base_model", "cold_model"]
    assert version.data("reflective_model") == ("cold", "reflective")


def test_a_repetition_draws_anew_whatever_is_no_oracle() -> None:
    version = parse("trial", yaml.safe_dump(trained(repetition=2)))
    seeds = [version.model_seed(seat) for seat in ("teacher", "cold_model", "grpo_model")]
    assert seeds == [3, 5, 5]
    given = {"policy": {"kind": "checkpoint", "model": "somewhere"}, "sampling": {"samples": 1}}
    version = parse("trial", yaml.safe_dump(trained(repetition=2, teacher=given)))
    assert version.model_seed("teacher") == 3  # whatever it is, its trajectories are shared


def test_problems_for_rl_are_chosen_by_the_model_that_rl_begins_with() -> None:
    content = trained()
    assert parse("trial", yaml.safe_dump(content)).reinforced == "reflective_model"
    content["grpo_model"]["start"] = "cold_model"
    assert parse("trial", yaml.safe_dump(content)).reinforced == "cold_model"
    assert parse("trial", GOOD).reinforced == "reflective_model"


def test_what_is_left_out_is_not_there() -> None:
    version = parse("trial", GOOD)
    assert not version.trains
    assert version.policy("base_model") is None
    assert version.policy("grpo_model") is None
    assert version.problems.splits["unseen_task"] == version.problems.splits["unseen_size"] == 0


def test_how_often_a_problem_is_answered_in_an_evaluation_hangs_on_who_answers() -> None:
    version = parse("trial", yaml.safe_dump(trained(evaluation={"samples": 5})))
    assert version.evaluations("base_model") == 6  # once greedily
    oracles = parse("trial", GOOD + "evaluation: {samples: 5}\n")
    assert oracles.evaluations("reflective_model") == 5
    assert oracles.evaluations("base_model") == 0


def test_a_number_with_an_exponent_and_no_point_is_a_number() -> None:
    text = GOOD + "grpo_model: {kind: checkpoint, model: x}\nscore: {w_draw: 2e-1}\n"
    assert parse("trial", text).score.w_draw == 0.2
    assert parse("trial", GOOD.replace("slip: 0.1", "slip: 1E-1")).teacher.policy.rates == {
        "slip": 0.1
    }
    assert "seed: '3e-4x': must be a valid integer" in refusal(
        GOOD.replace("seed: 3", "seed: 3e-4x")
    )


UNSEEN = {"tasks": {"views": {}}, "canvas": {"smallest": 252, "largest": 280}}


def with_unseen(**unseen: Any) -> str:
    content = yaml.safe_load(GOOD)
    content["problems"]["unseen"] = {**UNSEEN, **unseen}
    content["problems"]["splits"] |= {"unseen_task": 2, "unseen_size": 3}
    return yaml.safe_dump(content)


def test_unseen_splits_have_makers_and_sides_of_their_own() -> None:
    version = parse("trial", with_unseen())
    assert set(version.problems.makers("unseen_task")) == {"views"}
    assert set(version.problems.makers("unseen_size")) == {"maze", "counting", "photos"}
    assert list(version.sides("unseen_size")) == [9, 10]
    assert list(version.sides("unseen_task")) == list(version.sides("cold")) == [4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("unseen", "said"),
    [
        ({"tasks": {"maze": {}}}, ["unseen.tasks", "'maze'", "training mix"]),
        ({"tasks": {"sudoku": {}}}, ["unseen.tasks", "'sudoku'", *TASKS]),
        ({"tasks": {}}, ["splits.unseen_task needs unseen.tasks"]),
        ({"canvas": None}, ["splits.unseen_size needs unseen.canvas"]),
        (
            {"canvas": {"smallest": 224, "largest": 280}},
            ["unseen.canvas 224..280 overlaps canvas 112..224"],
        ),
        ({"canvas": {"smallest": 253, "largest": 260}}, ["unseen.canvas", "252 and 280"]),
        ({"canvas": {"smallest": 600, "largest": 616}}, ["unseen.canvas.largest 616", "615 px"]),
        ({"canvas": {"smallest": 300, "largest": 290}}, ["unseen.canvas", "300", "290", "above"]),
        ({"sources": {}}, ["problems.unseen.sources", "no such field"]),
    ],
)
def test_what_is_called_unseen_and_is_not_is_refused(
    unseen: dict[str, Any], said: list[str]
) -> None:
    message = refusal(with_unseen(**unseen))
    for part in said:
        assert part in message, message


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_model": None}, "cold_model is trained from base_model, which is not named"),
        (
            {"cold_model": {"policy": {"kind": "oracle"}, "sampling": {"samples": 2}}},
            "reflective_model is trained from cold_model, which is an oracle",
        ),
        (
            {"grpo_model": {"kind": "train", "start": "base_model"}, "base_model": None},
            "cold_model is trained from base_model, which is not named",
        ),
        (
            with_policy("cold_model", start="cold_model"),
            "cold_model.start: cold_model is not there before it",
        ),
        (
            with_policy("cold_model", data=["reflective"]),
            "cold_model.data: the reflective set is not there before it",
        ),
        (
            with_policy("reflective_model", data=["cold", "reflective", "cold"]),
            "reflective_model.data: a set is named twice",
        ),
        (
            with_policy("reflective_model", data=[]),
            "reflective_model.policy.data",
        ),
        (
            with_policy("reflective_model", data=["rl"]),
            "reflective_model.policy.data",
        ),
    ],
)
def test_models_that_cannot_be_trained_are_refused(changes: dict[str, Any], said: str) -> None:
    assert said in refusal(yaml.safe_dump(trained(**changes)))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("cold_model/policy/lr", 0, ["cold_model.policy.lr", "0", "greater than 0"]),
        ("cold_model/policy/lr", "fast", ["cold_model.policy.lr", "'fast'", "number"]),
        ("cold_model/policy/batch", 0, ["cold_model.policy.batch", "equal to 1"]),
        ("cold_model/policy/freeze_vision", "no", ["cold_model.policy.freeze_vision", "'no'"]),
        ("cold_model/policy/freeze_vision", 1, ["cold_model.policy.freeze_vision", "1", "boolean"]),
        ("cold_model/policy/clip_low", 0.2, ["cold_model.policy.clip_low", "no such field"]),
        (
            "cold_model/policy/kind",
            "trained",
            ["'trained'", "oracle, checkpoint, vllm, endpoint and train"],
        ),
        (
            "cold_model/policy",
            {},
            ["cold_model.policy", "oracle, checkpoint, vllm, endpoint or train"],
        ),
        (
            "teacher/policy",
            {"kind": "train"},
            ["teacher.policy", "oracle, checkpoint, vllm, endpoint and recorded"],
        ),
        ("base_model/kind", "oracle", ["base_model", "'oracle'", "checkpoint and tiny"]),
        ("base_model", {}, ["base_model", "kind is missing: checkpoint or tiny"]),
        ("base_model/model", 5, ["base_model.model", "5", "string"]),
        ("grpo_model/samples", 1, ["grpo_model.samples", "1", "equal to 2"]),
        ("grpo_model/temperature", 0, ["grpo_model.temperature", "0", "greater than 0"]),
        ("grpo_model/w_draw", -1, ["grpo_model.w_draw", "-1", "equal to 0"]),
        ("grpo_model/epochs", 2, ["grpo_model.epochs", "no such field"]),
        (
            "grpo_model/kind",
            "tiny",
            ["grpo_model", "'tiny'", "oracle, checkpoint, vllm, endpoint and train"],
        ),
        ("evaluation/samples", 0, ["evaluation.samples", "0", "equal to 1"]),
        ("evaluation/greedy", "yes", ["evaluation.greedy", "'yes'", "boolean"]),
        ("evaluation/bootstrap", 10, ["evaluation.bootstrap", "10", "100"]),
        ("evaluation/splits", [], ["evaluation.splits", "no such field"]),
    ],
)
def test_a_wrong_field_of_training_is_refused_as_all_others_are(
    place: str, value: object, said: list[str]
) -> None:
    content = trained()
    *above, last = place.split("/")
    inner = content
    for part in above:
        inner = inner.setdefault(part, {})
    inner[last] = value
    message = refusal(yaml.safe_dump(content))
    for part in said:
        assert part in message, message
    assert ".train" not in message


def test_a_version_cannot_be_changed() -> None:
    version = parse("trial", GOOD)
    with pytest.raises(ValueError, match="frozen"):
        version.seed = 4
    with pytest.raises(ValueError, match="frozen"):
        version.canvas.largest = 400


@pytest.mark.parametrize("family", FAMILIES)
def test_the_largest_canvas_of_each_family_is_accepted_and_one_more_is_not(family: str) -> None:
    unit = FAMILIES[family].unit
    most = 17 * unit - 1  # sixteen whole patches
    text = edited("family", family)
    assert parse("trial", text.replace("largest: 224", f"largest: {most}")).canvas.largest == most
    message = refusal(text.replace("largest: 224", f"largest: {most + 1}"))
    for part in ("canvas.largest", str(most + 1), family, f"at most {most} px"):
        assert part in message


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("seed", 2**63 - 1),
        ("problems/splits/cold", 0),
        ("problems/tasks/maze/difficulty", [0.5, 0.5]),
        ("problems/sources", GONE),
        ("problems/tasks", GONE),
        ("canvas", {"smallest": 112, "largest": 112}),
        ("canvas", GONE),
        ("cold_model/sampling/temperature", 0),
        ("teacher/sampling/samples", 1024),
        ("teacher/policy/rates", dict.fromkeys(Rates.__dataclass_fields__, 1)),
        ("filters/reflective/rule", "strict+helped"),
        ("score", {"beta": 0, "solved_at": 1}),
    ],
)
def test_the_ends_of_what_is_allowed_are_accepted(place: str, value: object) -> None:
    assert isinstance(parse("trial", edited(place, value)), Version)


def test_a_new_file_is_a_new_version(folder: Path) -> None:
    assert names() == []
    (folder / "second.yaml").write_text(GOOD)
    (folder / "first.yaml").write_text(GOOD)
    (folder / "notes.txt").write_text("not a version")
    assert names() == ["first", "second"]
    assert load("first").name == "first"
    assert load("first").model_copy(update={"name": "second"}) == load("second")


def test_text_in_any_script_is_read_as_utf_8(folder: Path) -> None:
    (folder / "first.yaml").write_bytes(edited("description", "≤ 3 Würfel 图").encode())
    assert load("first").description == "≤ 3 Würfel 图"


# Files that are wrong ----------------------------------------------------------------------------

# place of the edit → new value → what the message must hold, beside the file's name
BAD = [
    # wrong type
    ("seed", "seven", ["seed", "'seven'", "integer"]),
    ("seed", 1.5, ["seed", "1.5", "integer"]),
    ("description", 5, ["description", "5", "string"]),
    ("problems/splits/cold", "many", ["problems.splits.cold", "'many'", "integer"]),
    ("canvas", [112, 224], ["canvas", "[112, 224]", "mapping"]),
    (
        "problems/tasks/maze/difficulty",
        0.5,
        ["problems.tasks.maze.difficulty", "0.5", "list of two numbers"],
    ),
    ("problems/tasks/maze", None, ["problems.tasks.maze", "None", "mapping"]),
    (
        "cold_model/sampling/temperature",
        "hot",
        ["cold_model.sampling.temperature", "'hot'", "number"],
    ),
    # out of range
    ("seed", -1, ["seed", "-1", "greater than or equal to 0"]),
    ("seed", 2**63, ["seed", str(2**63), "less than"]),
    ("canvas/smallest", 10, ["canvas.smallest", "10", "112"]),
    ("canvas/largest", 4000, ["canvas.largest", "4000", "1000"]),
    ("problems/tasks/maze/share", 0, ["problems.tasks.maze.share", "0", "greater than 0"]),
    ("problems/splits/rl", -5, ["problems.splits.rl", "-5", "greater than or equal to 0"]),
    ("teacher/sampling/samples", 0, ["teacher.sampling.samples", "0", "equal to 1"]),
    ("cold_model/sampling/top_p", 1.5, ["cold_model.sampling.top_p", "1.5", "equal to 1"]),
    ("teacher/policy/rates", {"slip": 1.1}, ["teacher.policy", "rates.slip", "1.1", "equal to 1"]),
    ("rollout/max_turns", 0, ["rollout.max_turns", "0", "equal to 1"]),
    ("rollout/task_turns", {"maze": 0}, ["rollout.task_turns.maze", "0", "equal to 1"]),
    ("score/beta", 1, ["score.beta", "1", "less than 1"]),
    ("filters/cold/min_turns", 0, ["filters.cold.min_turns", "0", "equal to 1"]),
    ("description", "", ["description", "''", "at least 1 character"]),
    # numbers that are none
    (
        "cold_model/sampling/temperature",
        float("nan"),
        ["cold_model.sampling.temperature", "nan", "5"],
    ),
    ("problems/tasks/maze/share", float("inf"), ["problems.tasks.maze.share", "inf", "1000"]),
    ("problems/tasks/maze/difficulty", [float("nan")] * 2, ["maze.difficulty", "nan", "1"]),
    # reversed, or of another length
    (
        "problems/tasks/maze/difficulty",
        [0.7, 0.1],
        ["problems.tasks.maze.difficulty", "0.7", "0.1"],
    ),
    (
        "problems/tasks/maze/difficulty",
        [0, 0.5, 1],
        ["problems.tasks.maze.difficulty", "list of two numbers"],
    ),
    ("problems/tasks/maze/difficulty", [0.7], ["problems.tasks.maze.difficulty", "missing"]),
    ("canvas", {"smallest": 300, "largest": 200}, ["canvas", "300", "200", "above"]),
    ("canvas", {"smallest": 113, "largest": 127}, ["113..127", "multiple of 28", "112 and 140"]),
    # unknown fields
    ("colour", "red", ["colour", "no such field"]),
    ("canvas/widest", 300, ["canvas.widest", "no such field"]),
    ("problems/tasks/maze/walls", 3, ["problems.tasks.maze.walls", "no such field"]),
    ("teacher/policy/model", "x", ["teacher.policy", "model", "no such field"]),
    ("filters/warm", {}, ["filters.warm", "no such field"]),
    # missing fields
    ("description", GONE, ["description", "missing"]),
    ("problems", GONE, ["problems", "missing"]),
    ("problems/splits", GONE, ["problems.splits", "missing"]),
    ("problems/splits/rl", GONE, ["problems", "splits", "rl"]),
    ("teacher", GONE, ["teacher", "missing"]),
    ("teacher/sampling/samples", GONE, ["teacher.sampling.samples", "missing"]),
    ("cold_model/policy/model", GONE, ["cold_model.policy", "model", "missing"]),
    ("filters/reflective/rule", GONE, ["filters.reflective.rule", "missing"]),
    ("teacher/policy/kind", GONE, ["teacher.policy", "kind"]),
    # names that nothing has
    ("problems/tasks/sudoku", {}, ["problems", "task", "'sudoku'", *TASKS]),
    ("problems/sources/web", {}, ["problems", "source", "'web'", *SOURCES]),
    ("problems/splits/test", 5, ["problems.splits", "'test'", *SPLITS]),
    ("family", "llava", ["family", "'llava'", *FAMILIES]),
    ("wording", "fancy", ["wording", "'fancy'", "plain", "varied"]),
    ("teacher/policy/rates", {"slipp": 0.1}, ["teacher.policy", "rates", "'slipp'", "slip,"]),
    ("teacher/policy/kind", "gpt", ["teacher.policy", "kind", "'gpt'", "oracle", "checkpoint"]),
    ("filters/reflective/rule", "loose", ["filters.reflective.rule", "'loose'", "paper", "strict"]),
    ("rollout/on_fault", "ignore", ["rollout.on_fault", "'ignore'", "stop", "tell"]),
    ("rollout/task_turns", {"mase": 4}, ["rollout.task_turns", "mase", "maze"]),
    ("filters/cold/balance", {"colour": 2}, ["filters.cold.balance", "colour", "task", "answer"]),
    ("filters/cold/balance", {"task": 0.5}, ["filters.cold.balance.task", "0.5", "1"]),
    ("filters/cold/weigh", ["size"], ["filters.cold.weigh", "'size'", "difficulty"]),
    ("filters/reflective/least_draw", 1.5, ["filters.reflective.least_draw", "1.5", "1"]),
    # what lies beside
    ("decisions", {}, ["decisions", "leave it out", "trial.decisions.jsonl"]),
    # wrong together
    ("canvas/largest", 476, ["canvas.largest", "476", "qwen2.5-vl", "at most 475 px"]),
    ("problems", {"splits": dict.fromkeys(SPLITS, 1)}, ["problems", "task", "source"]),
    # YAML's own yes and no are no numbers
    ("seed", True, ["seed", "True"]),
    ("teacher/sampling/samples", True, ["teacher.sampling.samples", "True"]),
    ("cold_model/sampling/temperature", False, ["cold_model.sampling.temperature", "False"]),
    # the file's own name
    ("name", "other", ["name", "leave it out"]),
]


@pytest.mark.parametrize(
    ("place", "value", "said"),
    BAD,
    ids=[f"{place}={'gone' if value is GONE else value}"[:50] for place, value, _ in BAD],
)
def test_a_wrong_field_is_refused_with_place_value_and_what_is_allowed(
    place: str, value: object, said: list[str]
) -> None:
    message = refusal(edited(place, value))
    assert message.startswith("versions/trial.yaml: ")
    for part in said:
        assert part in message, message


def test_every_wrong_field_is_named_on_a_line_of_its_own() -> None:
    text = edited("seed", -1).replace("largest: 224", "largest: 5").replace("share: 2", "share: x")
    lines = refusal(text).splitlines()
    assert len(lines) == 3
    for line, place in zip(
        lines, ("seed", "canvas.largest", "problems.tasks.maze.share"), strict=True
    ):
        assert line.startswith(f"versions/trial.yaml: {place}: ")


NOT_YAML = {
    "unclosed": ("problems: [1, 2", ["line 1"]),
    "tab": ("problems:\n\tsplits: 1", ["line 2"]),
    "two documents": (GOOD + "---\nseed: 4\n", ["document"]),
    "key twice": (GOOD + "seed: 8\n", ["'seed' twice"]),
    "inner key twice": (
        GOOD.replace("slip: 0.1", "slip: 0.1, slip: 0.2"),
        ["'slip' twice", "line"],
    ),
    "list as key": (GOOD + "? [1]\n: 3\n", ["unhashable"]),
    "control character": (GOOD.replace("tests", "te\0sts"), ["#x0000"]),
    "python object": ("seed: !!python/object:os.system {}", ["python/object"]),
    "python call": ("!!python/object/apply:os.system ['true']", ["python/object/apply"]),
    "python name": ("seed: !!python/name:os.system", ["python/name"]),
    "python module": ("seed: !!python/module:os", ["python/module"]),
    "own tag": ("seed: !dice 6", ["!dice"]),
    # what the YAML library trips over by itself
    "no such month": (GOOD.replace("seed: 3", "seed: 2024-13-45"), ["month"]),
    "no digits": (GOOD.replace("seed: 3", "seed: 0x_"), []),
    "no integer": (GOOD.replace("seed: 3", "seed: !!int three"), ["three"]),
    "no truth": (GOOD.replace("seed: 3", "seed: !!bool perhaps"), ["perhaps"]),
    "no mapping": (GOOD.replace("{smallest: 112, largest: 224}", "!!map [1, 2]"), []),
    "a tower of lists": ("seed: " + "[" * 600, []),
}


@pytest.mark.parametrize(("text", "said"), NOT_YAML.values(), ids=NOT_YAML)
def test_what_is_not_plain_yaml_is_refused(text: str, said: list[str]) -> None:
    message = refusal(text)
    assert message.startswith("versions/trial.yaml: not YAML: ")
    for part in said:
        assert part in message


def test_nothing_is_run_while_a_file_is_read(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    for tag in ("python/object/apply:os.mkdir", "python/object/new:os.mkdir"):
        refusal(f"seed: !!{tag} ['{trace}']")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("- seed: 3\n", "a list"),
        ("seed\n", "a text"),
        ("", "nothing"),
        ("# later\n", "nothing"),
        ("7", "a number"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(text: str, kind: str) -> None:
    message = refusal(text)
    assert message.startswith("versions/trial.yaml: ")
    assert "a mapping is needed" in message
    assert kind in message


@pytest.mark.parametrize("key", ["5", "~", "yes", "2024-01-05"])
def test_a_key_that_is_no_text_is_refused(key: str) -> None:
    message = refusal(f"{GOOD}{key}: 3\n")
    assert message.startswith("versions/trial.yaml: ")
    assert "string" in message


def test_a_file_that_contains_itself_is_refused() -> None:
    assert "no such field" in refusal(GOOD + "more: &more {again: *more}\n")
    assert "canvas" in refusal(GOOD.replace("canvas: {smallest: 112", "canvas: &c {smallest: *c"))


def test_a_file_that_is_not_utf_8_is_refused_by_its_name(folder: Path) -> None:
    (folder / "latin.yaml").write_bytes(GOOD.encode() + "# caf\xe9\n".encode("latin-1"))
    with pytest.raises(VersionError, match=re.escape("versions/latin.yaml")):
        load("latin")


def test_decisions_by_hand_are_read_from_the_file_beside(folder: Path) -> None:
    (folder / "photos.yaml").write_text(GOOD)
    (beside := folder / "photos.decisions.jsonl").write_text('{"id": "a#0", "keep": false}\n')
    assert load("photos").decisions == {"a#0": Decision(False)}
    assert names() == ["photos"]
    beside.write_text('{"id": "a#0"}\n')
    with pytest.raises(VersionError, match=r"versions/photos\.decisions\.jsonl, line 1: keep is"):
        load("photos")


def test_a_decision_is_of_the_split_that_ends_its_trajectorys_name(folder: Path) -> None:
    (folder / "photos.yaml").write_text(GOOD)
    ids = ["a-cold-brew-reflective-000002#0", "a-cold-000001#3", "a-cold-x#0", "rl-cold-000003#1"]
    told = "".join(json.dumps({"id": name, "keep": True}) + "\n" for name in ids)
    (folder / "photos.decisions.jsonl").write_text(told)
    version = load("photos")
    assert [*version.decided("cold")] == ["a-cold-000001#3", "rl-cold-000003#1"]
    assert [*version.decided("reflective")] == ["a-cold-brew-reflective-000002#0"]


# Names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "tiny",
        "",
        "../mini",
        "..",
        "../versions/mini",
        "/etc/passwd",
        "mini.yaml",
        "./mini",
        "Mini",
        "mini\n",
        "mini\0",
        "-mini",
        "mini mini",
        "m" * 65,
        "ｍｉｎｉ",
    ],
)
def test_an_unknown_version_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(VersionError) as caught:
        load(name)
    message = str(caught.value)
    assert repr(name) in message
    assert ", ".join(names()) in message
    assert str(SHIPPED) in message


def test_no_name_leads_out_of_the_folder(folder: Path) -> None:
    inside = folder / "inside"
    inside.mkdir()
    (folder / "secret.yaml").write_text(GOOD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRAWLOOP_VERSIONS", str(inside))
        for name in ("../secret", str(folder / "secret"), "..\\secret"):
            with pytest.raises(VersionError, match="no version"):
                load(name)


@pytest.mark.parametrize("name", ["Big", "two words", "_draft"])
def test_a_file_whose_name_no_version_can_have_is_neither_listed_nor_loaded(
    name: str, folder: Path
) -> None:
    (folder / "first.yaml").write_text(GOOD)
    (folder / f"{name}.yaml").write_text(GOOD)
    with pytest.raises(VersionError, match=f"no version '{name}': there are first in"):
        load(name)
    assert names() == ["first"]


def test_an_editor_s_lock_is_no_version(folder: Path) -> None:
    (folder / "first.yaml").write_text(GOOD)
    (folder / ".#first.yaml").symlink_to("someone@somewhere.1")
    assert names() == ["first"]


def test_a_folder_is_no_version(folder: Path) -> None:
    (folder / "first.yaml").write_text(GOOD)
    (folder / "old.yaml").mkdir()
    assert names() == ["first"]
