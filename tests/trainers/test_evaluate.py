"""Evaluation: its numbers against hand counts, and what it refuses."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from assets.bodies import TABLES
from pipeline import rows
from pipeline.curate import grade
from pipeline.models import GridMismatch
from pipeline.reflection import Tolerance
from pipeline.reward import Rules
from pipeline.store import Store, Writer
from pipeline.types import Modality, Step, Trajectory
from tests.conftest import box, run
from tests.scripted import MODEL, listening
from tests.trainers.conftest import Small, problem_of
from trainers import evaluate as evaluation
from trainers.checkpoint import TrainingError
from trainers.evaluate import EvaluateConfig, evaluate
from trainers.exported import WrongData
from trainers.outcomes import outcome

ORACLE = json.dumps({"kind": "oracle", "rates": {}})


@pytest.fixture
def problems(tmp_path: Path, one: Small) -> str:
    """Two problems of each modality in the evaluation split; the other splits are empty."""
    store = Store.at(tmp_path / "data")
    with Writer(store, "problems", "2" * 16, TABLES["problems"]) as writer:
        for number in range(6):
            problem = problem_of(list(Modality)[number % 3], one.family, number)
            writer.append("evaluation", rows.problem_row(problem))
    return str(tmp_path / "data" / "problems" / ("2" * 16))


def config_of(problems: str, out: Path, **changes: Any) -> EvaluateConfig:
    given = {"policies": [ORACLE], "names": ["oracle"], "problems": problems, "out": str(out)}
    small = {"splits": ["evaluation"], "samples": 4, "bootstrap": 200}
    return EvaluateConfig(**{**given, **small, **changes})  # type: ignore[arg-type]


def summary(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "evaluation.json").read_text())["rows"]  # type: ignore[no-any-return]


def kept(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "trajectories.parquet").to_pylist()


def test_the_table_says_what_a_count_by_hand_of_the_trajectories_says(
    problems: str, tmp_path: Path
) -> None:
    config = config_of(problems, tmp_path / "out", samples=6, k=2)
    evaluate(config)
    told, every = summary(tmp_path / "out"), kept(tmp_path / "out")
    (whole,) = [row for row in told if row["by"] == "all"]
    assert len(every) == 36
    assert whole["problems"] == 6
    assert whole["accuracy"] == pytest.approx(sum(r["solved"] for r in every) / 36)
    assert whole["strict"] == pytest.approx(sum(r["strict"] for r in every) / 36)
    assert whole["draw"] == pytest.approx(sum(r["draw"] for r in every) / 36)
    boxes = [
        op for r in every for turn in r["turns"] for op in turn["ops"] or () if op["type"] == "box"
    ]
    assert whole["boxes"] == pytest.approx(len(boxes) / 36)
    assert whole["turns"] == pytest.approx(sum(len(r["turns"]) for r in every) / 36)
    assert whole["stops"]["answered"] == pytest.approx(
        sum(r["stop"] == "answered" for r in every) / 36
    )
    by_problem: dict[str, list[bool]] = {}
    for row in every:
        by_problem.setdefault(row["problem_id"], []).append(row["solved"])
    pairs = [
        [a or b for n, a in enumerate(tries) for b in tries[n + 1 :]]
        for tries in by_problem.values()
    ]
    best = sum(sum(p) / len(p) for p in pairs) / len(pairs)
    assert whole["pass_at_k"] == pytest.approx(best)
    assert whole["gap"] == pytest.approx(best - whole["accuracy"])
    assert whole["accuracy_low"] <= whole["accuracy"] <= whole["accuracy_high"]


def test_every_modality_and_task_has_its_own_row(problems: str, tmp_path: Path) -> None:
    evaluate(config_of(problems, tmp_path / "out"))
    told = summary(tmp_path / "out")
    assert [row["value"] for row in told if row["by"] == "modality"] == ["image", "video", "views"]
    assert [row["value"] for row in told if row["by"] == "task"] == ["plain"]
    parts = [row for row in told if row["by"] == "modality"]
    assert sum(row["accuracy"] for row in parts) / 3 == pytest.approx(told[0]["accuracy"])


def test_an_oracle_without_drawing_is_evaluated_without(problems: str, tmp_path: Path) -> None:
    silent = json.dumps({"kind": "oracle", "rates": {}, "draws": False})
    told = evaluate(config_of(problems, tmp_path / "out", policies=[silent]))["rows"][0]
    assert (told["boxes"], told["lines"], told["turns"]) == (0, 0, 1)


def test_a_checkpoint_is_asked_greedily_too_and_an_oracle_is_not(
    one: Small, problems: str, tmp_path: Path
) -> None:
    checkpoint = json.dumps({"kind": "checkpoint", "model": str(one.folder)})
    names = {"policies": [ORACLE, checkpoint], "names": ["oracle", "small"]}
    evaluate(config_of(problems, tmp_path / "out", **names, samples=2, max_tokens=8))
    every = kept(tmp_path / "out")
    counts = {
        (model, greedy): sum((r["model"], r["greedy"]) == (model, greedy) for r in every)
        for model in ("oracle", "small")
        for greedy in (False, True)
    }
    assert counts == {
        ("oracle", False): 12, ("oracle", True): 0, ("small", False): 12, ("small", True): 6,
    }  # fmt: skip
    told = {row["model"]: row for row in summary(tmp_path / "out") if row["by"] == "all"}
    assert told["oracle"]["greedy"] is None
    assert told["small"]["greedy"] == 0
    assert told["small"]["tokens"] > 0


def test_an_evaluation_that_was_ended_runs_only_what_is_missing(
    problems: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(problems, tmp_path / "out", policies=[ORACLE] * 2, names=["a", "b"])
    asked = []
    graded = evaluation._graded

    def watched(config: Any, policy: str, split: str, greedy: bool, name: str) -> Any:
        asked.append(name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return graded(config, policy, split, greedy, name)

    monkeypatch.setattr(evaluation, "_graded", watched)
    with pytest.raises(KeyboardInterrupt):
        evaluate(config)
    assert not (tmp_path / "out" / "done.json").exists()
    evaluate(config)
    assert asked == ["a", "b", "b"]
    whole = config_of(problems, tmp_path / "new", policies=[ORACLE] * 2, names=["a", "b"])
    monkeypatch.undo()
    evaluate(whole)
    assert summary(tmp_path / "out") == summary(tmp_path / "new")
    assert kept(tmp_path / "out") == kept(tmp_path / "new")


def served(url: str, **changes: Any) -> str:
    policy = {"kind": "endpoint", "model": MODEL, "servers": [url], "retries": 0, "timeout_s": 5}
    return json.dumps({**policy, **changes})


def test_a_served_model_is_evaluated_and_no_turn_of_it_is_paid_twice(
    problems: str, tmp_path: Path
) -> None:
    prices = {"prompt": 2.0, "completion": 5.0}
    with listening() as server:
        asked = [served(server.url, prices=prices)]
        first = evaluate(config_of(problems, tmp_path / "out", policies=asked, names=["s"]))
        (whole,) = [row for row in summary(tmp_path / "out") if row["by"] == "all"]
        assert (whole["problems"], whole["samples"]) == (6, 4)
        assert 0 <= whole["greedy"] <= 1
        assert len(server.requests) == 6 * 4 + 6
        heats = [request["temperature"] for request in server.requests]
        assert (heats.count(1.0), heats.count(0.0)) == (24, 6)
        again = evaluate(config_of(problems, tmp_path / "new", policies=asked, names=["s"]))
        assert len(server.requests) == 30
    assert kept(tmp_path / "new") == kept(tmp_path / "out")
    paid, replayed = first["spent"]["paid"], again["spent"]["replayed"]
    assert (paid["turns"], replayed["turns"]) == (30, 30)
    assert (again["spent"]["paid"]["turns"], first["spent"]["replayed"]["turns"]) == (0, 0)
    cost = (paid["prompt_tokens"] * 2 + paid["completion_tokens"] * 5) / 1e6
    assert (first["spent"]["cost"], again["spent"]["cost"]) == (pytest.approx(cost, abs=2e-6), 0)
    assert again["spent"]["cost_replayed"] == pytest.approx(cost, abs=2e-6)


def test_what_costs_nothing_tells_no_bill(problems: str, tmp_path: Path) -> None:
    assert "spent" not in evaluate(config_of(problems, tmp_path / "out"))


def test_an_evaluation_that_servers_ended_goes_on_with_others(
    problems: str, tmp_path: Path
) -> None:
    bad = {"seed": 0}

    def some_fail(request: dict[str, Any], number: int) -> str:
        bad["seed"] = bad["seed"] or (request["seed"] if number == 9 else 0)
        return "400" if request["seed"] == bad["seed"] else ""

    with listening(some_fail) as one, listening() as other:
        config = config_of(problems, tmp_path / "out", policies=[served(one.url)], names=["s"])
        with pytest.raises(TrainingError, match="s could not be asked 1 of 24 times"):
            evaluate(config)
        evaluate(replace(config, policies=[served(other.url, retries=3)]))
        assert len(one.requests) + len(other.requests) == 24 + 1 + 6
    assert len(kept(tmp_path / "out")) == 30


@pytest.mark.parametrize(
    ("policy", "changes", "said"),
    [
        (served("http://127.0.0.1:1/v1", key_from="NO_SUCH_KEY"), {}, "a key from $NO_SUCH_KEY"),
        (
            served("http://user:secret@a/v1"),
            {},
            "policies.endpoint: Value error, servers: 'a' is named",
        ),
        (
            served("http://127.0.0.1:1/v1"),
            {"max_tokens": 8},
            "sampling.max_tokens: Input should be",
        ),
        ('{"kind": "none"}', {}, "policies: Input tag 'none' found"),
    ],
)
def test_a_policy_that_cannot_be_asked_is_told_on_one_line_without_secrets(
    problems: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    policy: str,
    changes: dict[str, Any],
    said: str,
) -> None:
    config = config_of(problems, tmp_path / "out", policies=[policy], **changes)
    (tmp_path / "asked.json").write_text(json.dumps(asdict(config)))
    with pytest.raises(SystemExit, match="2"):
        evaluation.main([str(tmp_path / "asked.json")])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("evaluate: ")
    assert said in error
    assert "secret" not in error


def test_problems_that_are_not_there_are_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "problems" / "none")
    with pytest.raises(WrongData, match="is not there: build problems first"):
        evaluate(config_of(missing, tmp_path / "out"))


def test_a_model_that_cannot_be_asked_is_an_error_and_no_zero(
    one: Small, problems: str, tmp_path: Path
) -> None:
    checkpoint = json.dumps({"kind": "checkpoint", "model": str(one.folder)})
    config = config_of(
        problems, tmp_path / "out", policies=[checkpoint], names=["small"], max_context=16
    )
    with pytest.raises(TrainingError, match="small could not be asked 24 of 24 times"):
        evaluate(config)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"k": 5}, "k is 5, of 4 samples"),
        ({"samples": 0}, "samples is 0; it must be 1 or more"),
        ({"bootstrap": 0}, "bootstrap is 0; it must be 1 or more"),
        ({"max_tokens": 0}, "max_tokens is 0; it must be 1 or more"),
    ],
)
def test_what_could_not_be_told_of_the_answers_is_refused_before_they_are_asked_for(
    problems: str,
    tmp_path: Path,
    changes: dict[str, Any],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluation, "_graded", pytest.fail)
    with pytest.raises(TrainingError, match=said):
        evaluate(config_of(problems, tmp_path / "out", **changes))


def test_problems_that_are_not_on_the_family_s_grid_are_refused_by_folder(
    smalls: dict[str, Small], problems: str, tmp_path: Path
) -> None:
    three = json.dumps({"kind": "checkpoint", "model": str(smalls["qwen3-vl"].folder)})
    given = {"policies": [three], "names": ["three"], "family": "qwen3-vl"}
    said = (
        f"{problems}: image-0 has a picture of 84 × 84 px, and models of qwen3-vl see patches of 32"
    )
    with pytest.raises(WrongData, match=said):
        evaluate(config_of(problems, tmp_path / "out", **given))
    named = (
        f"px .qwen2.5-vl., and the processor of {smalls['qwen3-vl'].folder} cuts patches of 32 px"
    )
    with pytest.raises(GridMismatch, match=named):
        evaluate(config_of(problems, tmp_path / "out", **{**given, "family": "qwen2.5-vl"}))


def test_a_model_that_was_trained_anew_at_the_same_path_is_evaluated_anew_and_no_other(
    one: Small, problems: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [tmp_path / name for name in ("a", "b")]
    for place in places:
        shutil.copytree(one.folder, place)
    told = [json.dumps({"kind": "checkpoint", "model": str(place)}) for place in places]
    config = config_of(
        problems, tmp_path / "out", policies=told, names=["a", "b"], samples=1, max_tokens=4,
        greedy=False,
    )  # fmt: skip
    asked, graded = [], evaluation._graded

    def watched(config: Any, policy: str, split: str, greedy: bool, name: str) -> Any:
        asked.append(name)
        return graded(config, policy, split, greedy, name)

    monkeypatch.setattr(evaluation, "_graded", watched)
    first = evaluate(config)
    assert evaluate(config) == first
    trained = {n: w + 0.01 for n, w in load_file(places[1] / "model.safetensors").items()}
    save_file(trained, places[1] / "model.safetensors", {"format": "pt"})
    second = evaluate(config)
    assert asked == ["a", "b", "b"]
    assert first["weights"]["a"] == second["weights"]["a"]
    assert first["weights"]["b"] != second["weights"]["b"]
    shutil.rmtree(places[0])
    assert evaluate(config) == second  # what is gone was found as it was found
    save_file(load_file(one.folder / "model.safetensors"), places[1] / "model.safetensors")
    assert evaluate(config)["weights"]["a"] == second["weights"]["a"]
    assert asked == ["a", "b", "b", "b"]


def test_a_problem_that_cannot_be_read_is_named(one: Small, tmp_path: Path) -> None:
    store, problem = Store.at(tmp_path / "data"), problem_of(Modality.IMAGE, one.family)
    with Writer(store, "problems", "3" * 16, TABLES["problems"]) as writer:
        broken = {"images": [{"bytes": b"no picture", "path": None}]}
        writer.append("evaluation", {**rows.problem_row(problem), **broken})
    folder = str(tmp_path / "data" / "problems" / ("3" * 16))
    with pytest.raises(WrongData, match=f"{folder}: image-0 cannot be read .*does not decode"):
        evaluate(config_of(folder, tmp_path / "out"))


def test_trajectories_that_a_full_disk_cannot_hold_are_named(problems: str, tmp_path: Path) -> None:
    parts = tmp_path / "out" / "parts"
    parts.mkdir(parents=True)
    full = parts / "oracle-evaluation.tmp"
    full.symlink_to("/dev/full")
    said = f"{parts}/oracle-evaluation.parquet could not be written: .*No space.* Make room"
    with pytest.raises(TrainingError, match=said):
        evaluate(config_of(problems, tmp_path / "out"))


def test_a_split_without_problems_is_named(problems: str, tmp_path: Path) -> None:
    with pytest.raises(WrongData, match="has no problems in the split unseen_task"):
        evaluate(config_of(problems, tmp_path / "out", splits=["evaluation", "unseen_task"]))


def test_two_models_of_one_name_are_refused(problems: str, tmp_path: Path) -> None:
    with pytest.raises(WrongData, match="as many different names"):
        evaluate(config_of(problems, tmp_path, policies=[ORACLE] * 2, names=["a", "a"]))


def test_boxes_of_a_turn_with_a_fault_are_not_counted(one: Small) -> None:
    problem = problem_of(Modality.IMAGE, one.family)
    good, away = box(0, 0, 20, 20), box(0, 0, 20, 20, k=9)
    done = run(problem, [Step("a", (good,)), Step("b", (away,))])
    assert isinstance(done, Trajectory)
    (row,) = grade([problem], [done], Rules(), Tolerance())
    assert (outcome(row).boxes, outcome(row).turns, outcome(row).stop) == (1, 2, "bad_op")
