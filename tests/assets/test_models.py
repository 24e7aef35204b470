"""Versions that train: who is trained on what, where models lie, and what is found if they break."""

import dataclasses
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyarrow import fs

from assets import checks, models, prune, status, trial
from assets.build import Built, build, find
from assets.checks import checks_of
from assets.graph import NODES, address, needed, recipe, sets
from assets.inputs import Inputs
from assets.launch import TrainerFailed
from assets.report import metadata
from pipeline import problems, rows, teachers
from pipeline.policies import CheckpointPolicy, Stage
from pipeline.store import Store, StoreError
from pipeline.teachers.oracle import Oracle, Rates
from pipeline.types import Policy
from pipeline.versions import Version, VersionError, parse
from tests.assets.conftest import TINY, TRAINING, build_all, lay_base
from tests.assets.pretend import BILL, Pretending
from tests.conftest import ByTheBatch

if TYPE_CHECKING:
    from tests.trainers.conftest import Small

TRAINED = ("cold_model", "reflective_model", "grpo_model")


@pytest.fixture
def training(base: Path) -> Version:
    return parse("training", TRAINING)


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Checkpoints that were sampled from; an oracle speaks for them."""
    asked: list[str] = []

    def speak(stage: Stage, version: Version, seed: int) -> Policy:
        assert isinstance(stage.policy, CheckpointPolicy)
        asked.append(stage.policy.model)
        oracle = Oracle(Rates(wrong_answer=0.4), seed, version.limits, version.wire, 1024)
        return ByTheBatch(oracle)

    monkeypatch.setitem(teachers.TEACHERS, "checkpoint", speak)
    return asked


@pytest.fixture
def trainers() -> Pretending:
    return Pretending()


@pytest.fixture(scope="session")
def before_training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has all that the first model of the version is trained on; not to be changed."""
    store, version = Store.at(tmp_path_factory.mktemp("taught")), parse("training", TRAINING)
    for asset in needed(["skills_export", "cold_export"], version):
        build(asset, version, store)
    return Path(store.root)


@pytest.fixture
def taught(before_training: Path, store: Store) -> Store:
    """A store of one's own with that in it."""
    shutil.copytree(before_training, store.root)
    return store


@pytest.fixture
def made(
    training: Version, taught: Store, sampled: list[str], trainers: Pretending
) -> dict[str, Built]:
    return build_all(training, taught, trainers)


def moved(change: Callable[[str], str]) -> set[str]:
    before, after = parse("v", TRAINING), parse("v", change(TRAINING))
    return {asset for asset in NODES if address(asset, before) != address(asset, after)}


# What decides a model ----------------------------------------------------------------------------


def test_a_trained_model_reads_what_it_is_trained_on_and_a_given_one_reads_nothing(
    training: Version,
) -> None:
    read = {model: set(recipe(model, training)["inputs"]) for model in TRAINED}
    assert read == {
        "cold_model": {"base_model", "skills_export", "cold_export"},
        "reflective_model": {"cold_model", "reflective_export"},
        "grpo_model": {"reflective_model", "rl_export"},
    }
    given = parse("given", TINY)
    assert all(recipe(model, given)["inputs"] == {} for model in TRAINED)


@pytest.mark.usefixtures("base")
def test_a_model_may_start_and_learn_otherwise() -> None:
    text = TRAINING.replace("rule: paper", "rule: none, limit: 4").replace(
        "lr: 2e-4", "start: base_model, data: [cold, reflective]"
    )
    version = parse("otherwise", text)
    assert set(recipe("reflective_model", version)["inputs"]) == {
        "base_model", "cold_export", "reflective_export",
    }  # fmt: skip
    assert {"base_model", "reflective_set"} <= set(needed(["reflective_model"], version))


@pytest.mark.usefixtures("base")
def test_another_repetition_moves_the_models_and_what_they_sample_and_shares_the_rest() -> None:
    shared = {
        "problems", "base_model", "drawing_skills", "teacher_trajectories", "cold_set",
        "skills_export", "cold_export", "framework_exports",
    }  # fmt: skip
    assert (
        moved(lambda text: text.replace("seed: 5", "seed: 5\nrepetition: 1")) == {*NODES} - shared
    )


@pytest.mark.usefixtures("base")
def test_training_otherwise_moves_the_model_and_all_that_is_made_with_it() -> None:
    after_cold = {
        "cold_model", "reflective_trajectories", "reflective_set", "reflective_export",
        "reflective_model", "rl_trajectories", "rl_problems", "rl_export", "grpo_model",
        "evaluation", "gallery",
    }  # fmt: skip
    assert moved(lambda text: text.replace("lr: 1e-3", "lr: 2e-3")) == after_cold
    cold_data = {"cold_set", "cold_export"}
    assert moved(lambda text: text.replace("min_turns: 2", "min_turns: 3")) == {
        *after_cold, *cold_data,
    }  # fmt: skip
    assert moved(lambda text: text.replace("w_draw: 0.5", "w_draw: 0.6")) == {
        "grpo_model", "evaluation", "gallery",
    }  # fmt: skip
    reflective = moved(lambda text: text.replace("lr: 2e-4", "lr: 3e-4"))
    assert "cold_model" not in reflective
    assert {"reflective_model", "rl_export", "grpo_model"} <= reflective


def test_another_base_moves_all_that_is_trained_from_it(training: Version, base: Path) -> None:
    before = {asset: address(asset, training) for asset in NODES}
    lay_base(base.parent, b"other weights")
    changed = {asset for asset in NODES if address(asset, training) != before[asset]}
    assert changed >= {"base_model", *TRAINED, "evaluation"}
    assert not changed & {"problems", "skills_export", "cold_export"}


def test_other_code_that_trains_moves_what_it_makes(
    training: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {asset: address(asset, training) for asset in NODES}
    monkeypatch.setitem(models.CODE, "grpo", "another")
    changed = {asset for asset in NODES if address(asset, training) != before[asset]}
    assert changed == {"grpo_model", "evaluation", "gallery"}


def test_a_base_that_is_not_there_is_said_and_nothing_is_taken_for_stale(
    training: Version, base: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base / "model.safetensors").unlink()
    with pytest.raises(StoreError, match="the tiny base is not whole"):
        address("cold_model", training)
    told = {line["asset"]: line["state"] for line in status.state(training, store, verify=False)}
    assert told["problems"] == "not built"
    assert "the tiny base is not whole" in told["grpo_model"]
    monkeypatch.setattr(prune, "names", lambda: ["training"])
    monkeypatch.setattr(prune, "load", lambda name: training)
    with pytest.raises(StoreError, match="the tiny base is not whole"):
        list(prune.stale(store))


def test_the_sets_of_a_version_need_only_the_models_that_sample_them(training: Version) -> None:
    assert {"cold_model", "base_model", "reflective_model"} <= set(needed(sets(), training))
    assert not {"grpo_model", "evaluation"} & set(needed(sets(), training))
    given = needed(sets(), parse("given", TINY))
    assert "base_model" not in given
    assert given.index("cold_model") < given.index("reflective_trajectories")


# Building ----------------------------------------------------------------------------------------


def test_a_version_is_trained_from_base_to_evaluation_and_every_check_passes(
    made: dict[str, Built], store: Store, sampled: list[str]
) -> None:
    for asset, built in made.items():
        for check in checks_of(asset):
            finding = check(built)
            assert finding.passed, f"{asset}.{check.__name__}: {finding.said}"
    assert sampled == [f"{made[model].path}/model" for model in TRAINED[:2]]
    weights = Path(made["grpo_model"].path, "model", "model.safetensors").read_text()
    assert weights == "grpo of sft of sft of weights"  # one from the other


def test_trainers_get_configurations_that_they_take(
    made: dict[str, Built], trainers: Pretending, base: Path
) -> None:
    from trainers.evaluate import EvaluateConfig
    from trainers.grpo import GrpoConfig
    from trainers.sft import SftConfig

    (_, first), (_, second), *_ = trainers.asked
    cold, reflective = SftConfig(**first), SftConfig(**second)
    assert (cold.model, cold.lr, cold.batch, cold.epochs) == (str(base), 1e-3, 4, 2)
    assert cold.data == [made["skills_export"].path, made["cold_export"].path]
    assert (reflective.model, reflective.lr) == (f"{made['cold_model'].path}/model", 2e-4)
    grpo = GrpoConfig(**trainers.config("trainers.grpo"))
    assert (grpo.steps, grpo.w_draw, grpo.max_context) == (3, 0.5, 6144)
    assert grpo.data == [made["rl_export"].path]
    asked = EvaluateConfig(**trainers.config("trainers.evaluate"))
    assert asked.names == ["base_model", *TRAINED]
    assert asked.splits == ["evaluation", "unseen_task", "unseen_size"]
    assert (asked.samples, asked.task_turns) == (2, {"maze": 20})
    referred = [json.loads(policy)["model"] for policy in asked.policies]
    assert referred == [str(base), *(f"{made[model].path}/model" for model in TRAINED)]


def test_what_a_version_leaves_out_is_as_the_trainers_have_it() -> None:
    from trainers.grpo import GrpoConfig
    from trainers.sft import SftConfig

    version = parse("plain", TRAINING.replace("epochs: 2, lr: 1e-3, batch: 4", "steps: 0").replace(
        "steps: 3, w_draw: 0.5", "steps: 0"
    ))  # fmt: skip
    for seat, config in (("cold_model", SftConfig), ("grpo_model", GrpoConfig)):
        theirs = {f.name: f.default for f in dataclasses.fields(config)}
        ours = version.policy(seat).model_dump(exclude_none=True, exclude={"kind"})
        assert ours == {name: theirs[name] for name in ours}


def test_the_weight_of_drawing_in_rl_is_the_score_s_unless_it_is_given() -> None:
    text = TRAINING + "score: {w_draw: 0.25, solved_at: 0.8}\n"
    assert models.settings("grpo_model", parse("a", text))["w_draw"] == 0.5
    plain = parse("b", text.replace(", w_draw: 0.5", ""))
    asked = models.settings("grpo_model", plain)
    assert (asked["w_draw"], asked["solved_at"]) == (0.25, 0.8)


def test_a_store_that_has_moved_still_leads_to_its_models(
    made: dict[str, Built], training: Version, tmp_path: Path
) -> None:
    shutil.move(tmp_path / "data", tmp_path / "moved")
    moved_to = Store.at(tmp_path / "moved")
    inputs = Inputs(moved_to, {"cold_model": address("cold_model", training)})
    given = models.policy(training, inputs, "cold_model")
    assert given.model == f"{tmp_path}/moved/cold_model/{address('cold_model', training)}/model"
    assert Path(given.model, "model.safetensors").is_file()


def test_a_seat_that_is_empty_holds_no_policy_and_is_not_evaluated(
    tiny: Version, store: Store, trainers: Pretending
) -> None:
    built = build_all(tiny, store, trainers)
    assert list(built["base_model"].rows("policy")) == []
    assert metadata(built["grpo_model"])["policy"].value == "none: the version names no such model"
    assert trainers.config("trainers.evaluate")["names"] == ["cold_model", "reflective_model"]
    assert {module for module, _ in trainers.asked} == {"trainers.evaluate"}
    for check in checks_of("grpo_model"):
        assert check(built["grpo_model"]).passed


def test_what_a_trainer_says_of_its_failure_reaches_the_builder_and_nothing_is_published(
    training: Version, taught: Store
) -> None:
    with pytest.raises(TrainerFailed, match=r"^sft: no row is left to train on$"):
        build_all(training, taught, Pretending(failing=("trainers.sft",)))
    assert find("cold_export", training, taught) is not None
    assert find("cold_model", training, taught) is None


def test_a_run_that_was_killed_is_gone_on_with_in_the_same_folder_with_the_same_configuration(
    training: Version, taught: Store, trainers: Pretending
) -> None:
    class Killed(BaseException):
        pass

    asked: list[str] = []

    def dying(module: str, config: Path) -> None:
        asked.append(config.read_text())
        (config.parent / "half-way").touch()
        raise Killed

    with pytest.raises(Killed):
        build_all(training, taught, dying)
    for asset in needed(["cold_model"], training):
        build(asset, training, taught, trainers)
    ((_, config),) = trainers.asked
    assert [config] == [json.loads(text) for text in asked]
    assert Path(config["out"], "half-way").exists()


def test_weights_that_are_not_those_that_were_trained_are_not_published(
    training: Version, taught: Store, trainers: Pretending
) -> None:
    def flipping(module: str, config: Path) -> None:
        trainers(module, config)
        (config.parent / "model" / "model.safetensors").write_bytes(b"flipped")

    with pytest.raises(StoreError, match="is damaged: delete"):
        build_all(training, taught, flipping)
    assert find("cold_model", training, taught) is None


# Damage and what may go --------------------------------------------------------------------------


def test_a_damaged_weight_file_is_told_and_built_again_from_its_run(
    made: dict[str, Built], training: Version, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = Path(made["cold_model"].path, "model", "model.safetensors")
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + b"?")
    assert not checks.parts_intact(made["cold_model"]).passed
    damaged = {line["asset"] for line in status.state(training, store, verify=True)
               if line["state"].startswith("damaged")}  # fmt: skip
    assert damaged == {"cold_model"}
    weights.write_bytes(good[:-1])
    monkeypatch.setattr(prune, "names", lambda: ["training"])
    monkeypatch.setattr(prune, "load", lambda name: training)
    stale = [path for path, _ in prune.stale(store)]
    assert made["cold_model"].path in stale
    assert not any(path.endswith(f"runs/cold_model-{made['cold_model'].address}") for path in stale)
    shutil.rmtree(made["cold_model"].path)
    build("cold_model", training, store, Pretending())
    assert weights.read_bytes() == good


def test_runs_that_are_published_or_led_to_by_no_version_may_go_and_live_ones_stay(
    made: dict[str, Built], training: Version, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prune, "names", lambda: ["training"])
    monkeypatch.setattr(prune, "load", lambda name: training)
    runs = Path(store.root, "runs")
    published = {f"{asset}-{made[asset].address}" for asset in (*TRAINED, "evaluation")}
    assert {path.name for path in runs.iterdir()} == published
    for name in ("cold_model-0123456789abcdef", "grpo_model-0123456789abcdef"):
        (runs / name).mkdir()
        (runs / name / "metrics.jsonl").write_text("{}")
    old = runs / "cold_model-0123456789abcdef"
    for path in (old / "metrics.jsonl", old):
        os.utime(path, (0, 0))
    shutil.rmtree(made["evaluation"].path)  # a run whose asset is still to come
    stale = {Path(path).name for path, _ in prune.stale(store)}
    evaluation = f"evaluation-{made['evaluation'].address}"
    assert stale == {*published, old.name} - {evaluation}


def test_a_model_lies_in_an_object_store_and_trainers_read_copies(
    training: Version,
    sampled: list[str],
    trainers: Pretending,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DRAWLOOP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "bucket").mkdir()
    remote = Store(fs.SubTreeFileSystem(str(tmp_path / "bucket"), fs.LocalFileSystem()), "drawloop")
    built = build_all(training, remote, trainers)
    for asset in (*TRAINED, "evaluation"):
        for check in checks_of(asset):
            assert check(built[asset]).passed
    config = trainers.config("trainers.grpo")
    assert config["out"].startswith(str(tmp_path / "cache" / "runs"))
    assert config["model"].startswith(str(tmp_path / "cache" / "reflective_model"))
    assert (tmp_path / "bucket" / "drawloop" / "grpo_model").is_dir()
    assert metadata(built["grpo_model"])["steps"] == 8


# Checks ------------------------------------------------------------------------------------------


def test_an_evaluation_that_lacks_an_answer_is_found(made: dict[str, Built]) -> None:
    built = made["evaluation"]
    asked = sum((4, 2, 3)) * (2 + 1) * 4
    assert checks.nothing_lost(built).said.startswith(f"{asked} in = {asked} kept")
    more = parse("more", TRAINING.replace("evaluation: {samples: 2}", "evaluation: {samples: 3}"))
    assert not checks.nothing_lost(dataclasses.replace(built, version=more)).passed


def test_a_table_that_does_not_tell_the_trajectories_is_found(
    training: Version, taught: Store, sampled: list[str], trainers: Pretending
) -> None:
    def flattering(module: str, config: Path) -> None:
        trainers(module, config)
        if module == "trainers.evaluate":
            path = config.parent / "evaluation.json"
            path.write_text(path.read_text().replace('"accuracy": 1.0', '"accuracy": 0.9', 1))

    built = build_all(training, taught, flattering)["evaluation"]
    finding = checks.summary_agrees(built)
    assert not finding.passed
    assert "base_model on evaluation" in finding.said


def test_a_scene_that_the_base_was_trained_on_is_found_in_the_evaluation(
    training: Version, store: Store, base: Path
) -> None:
    built = build("problems", training, store)
    assert checks.base_disjoint(built).passed
    asked = map(rows.problem, built.rows("unseen_size"))
    marks = problems.fingerprints(next(asked))
    lay_base(base.parent, scenes=(b"0" * 16, marks[1]))
    finding = checks.base_disjoint(built)
    assert not finding.passed
    assert "unseen_size" in finding.said
    training_only = problems.fingerprints(next(map(rows.problem, built.rows("cold"))))
    lay_base(base.parent, scenes=training_only)
    assert checks.base_disjoint(built).passed


# What pages and the command line show ------------------------------------------------------------


def test_pages_show_where_a_model_lies_and_how_its_training_went(made: dict[str, Built]) -> None:
    shown = metadata(made["cold_model"])
    assert shown["checkpoint"].value == f"{made['cold_model'].path}/model"
    assert len(shown["weights sha256"]) == 64
    assert shown["curves"].value.startswith("![](data:image/webp;base64,")
    assert "|validation_loss|0.4|" in shown["last numbers"].value
    reward = "|reward|0.4444|"  # of the last five of 1/9 … 6/9
    assert reward in metadata(made["grpo_model"])["last numbers"].value
    assert "curves" not in metadata(made["base_model"])


def test_the_evaluation_s_tables_are_short_enough_to_be_shown_in_place(
    made: dict[str, Built],
) -> None:
    shown = metadata(made["evaluation"])
    table = shown["evaluation"].value
    assert len(table) < 1000
    assert [line.split("|")[1] for line in table.splitlines()[2:]] == [
        "base", "cold", "reflective", "grpo",
    ]  # fmt: skip
    assert "|1.00 [0.90, 1.00]|" in table
    parts = shown["accuracy by part"].value
    assert len(parts) < 1000
    named = [line.split("|")[1] for line in parts.splitlines()[2:]]
    assert named == ["task counting", "task maze", "unseen_task", "unseen_size"]
    assert shown["accuracy, 95 % intervals"].value.startswith("![](data:image/webp;base64,")


def test_what_an_evaluation_of_a_served_model_cost_is_in_its_manifest_and_on_its_page(
    made: dict[str, Built],
) -> None:
    assert made["evaluation"].manifest.facts["spent"] == BILL
    shown = metadata(made["evaluation"])
    assert (shown["cost"], shown["cost, if nothing had been kept"]) == (0.25, 0.75)


def test_trying_a_version_goes_on_without_the_models_that_are_not_built(
    training: Version,
    store: Store,
    sampled: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = "\n".join(trial.trial(training, store, 1, tmp_path / "try"))
    assert "== teacher (oracle)" in told
    assert (
        Counter(told.splitlines())["   it is made by this version: `drawloop build training` first"]
        == 2
    )
    assert sampled == []
    built = build_all(training, store)
    sampled.clear()
    told = "\n".join(trial.trial(training, store, 1, tmp_path / "try"))
    assert "it is made by this version" not in told
    assert sampled == [], "the build has asked for these turns"
    monkeypatch.setenv("DRAWLOOP_REPLAY", str(tmp_path / "elsewhere"))
    assert told == "\n".join(trial.trial(training, store, 1, tmp_path / "try"))
    assert sampled == [f"{built[model].path}/model" for model in TRAINED[:2]]


def test_nobody_is_trained_from_an_oracle(base: Path) -> None:
    with pytest.raises(VersionError, match="cold_model is trained from base_model, which is not"):
        parse("v", TRAINING.replace("base_model: {kind: tiny}\n", ""))


# With a real trainer -----------------------------------------------------------------------------


def test_a_real_trainer_trains_a_tiny_model_on_the_exports_in_a_process_of_its_own(
    taught: Store, smalls: "dict[str, Small]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAWLOOP_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shutil.copytree(smalls["qwen2.5-vl"].folder, lay_base(tmp_path / "weights"), dirs_exist_ok=True)
    version = parse("real", TRAINING.replace("epochs: 2, lr", "steps: 2, lr"))
    for asset in needed(["cold_model"], version):
        built = build(asset, version, taught)
    for check in checks_of("cold_model"):
        assert check(built).passed
    assert built.manifest.facts["trained"]["steps"] == 2
    assert (
        metadata(built)["weights sha256"]
        == built.manifest.parts["model/model.safetensors"]["sha256"]
    )
    base = Path(tmp_path, "weights", "tiny-qwen2.5-vl", "model.safetensors").read_bytes()
    assert Path(built.path, "model", "model.safetensors").read_bytes() != base
    broken = parse(
        "broken", TRAINING.replace("epochs: 2, lr: 1e-3", "steps: 1, lr: 1e-3, max_tokens: 16")
    )
    with pytest.raises(TrainerFailed, match=r"^sft: no row of .* is left to train on: .*16 tokens"):
        build("cold_model", broken, taught)


@pytest.mark.usefixtures("base")
def test_a_set_of_a_limited_size_and_another_start_reach_the_trainer(
    taught: Store, sampled: list[str]
) -> None:
    text = TRAINING.replace("rule: paper", "rule: none, limit: 4")
    text = text.replace("lr: 2e-4", "start: base_model, data: [cold, reflective]")
    version, trainers = parse("otherwise", text + "repetition: 2\n"), Pretending()
    wanted = needed(["grpo_model"], version)
    made = {asset: build(asset, version, taught, trainers) for asset in wanted}
    assert made["reflective_set"].manifest.tables["reflective"] == 4
    assert made["reflective_set"].manifest.facts["yield"]["over_limit"] > 0
    config = [asked for module, asked in trainers.asked if module == "trainers.sft"][-1]
    assert config["model"] == str(models.tiny_base("qwen2.5-vl"))
    assert [Path(folder).parent.name for folder in config["data"]] == [
        "cold_export", "reflective_export",
    ]  # fmt: skip
    assert config["seed"] == trainers.config("trainers.grpo")["seed"] == version.seed + 2
    assert "start" not in config
