"""The command line and Dagster over it, as a user runs them: in processes of their own."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from imageio.v3 import imread

from tests.assets.conftest import TINY, TRAINING, lay_base

if TYPE_CHECKING:
    from tests.trainers.conftest import Small

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    """An environment with versions, store and Dagster home of its own."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "tiny.yaml").write_text(TINY)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    return {
        **os.environ,
        "DRAWLOOP_VERSIONS": str(tmp_path / "versions"),
        "DRAWLOOP_DATA": str(tmp_path / "data"),
        "DAGSTER_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "1",
    }


def drawloop(place: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "drawloop", *words],
        env=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def add(place: dict[str, str], name: str, text: str) -> None:
    (Path(place["DRAWLOOP_VERSIONS"]) / f"{name}.yaml").write_text(text)


def parquet(place: dict[str, str]) -> dict[str, bytes]:
    data = Path(place["DRAWLOOP_DATA"])
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in data.rglob("*")
        if path.suffix in (".parquet", ".json") and path.relative_to(data).parts[0] != "tmp"
    }


def test_a_version_is_listed_planned_built_and_its_state_told(place: dict[str, str]) -> None:
    assert "tiny: 32 problems (counting, maze)" in drawloop(place, "list").stdout
    planned = json.loads(drawloop(place, "plan", "tiny", "--json").stdout)
    assert {p["stage"]: p["trajectories"] for p in planned}["teacher"] == 24
    assert all(p["model_tokens"] > 0 for p in planned if p["trajectories"])
    done = drawloop(place, "build", "--sets", "tiny")
    assert done.returncode == 0, done.stderr
    told = json.loads(drawloop(place, "status", "tiny", "--json").stdout)
    missing = {row["asset"] for row in told if row["path"] is None}
    assert missing == {"base_model", "grpo_model", "evaluation", "gallery"}
    early = drawloop(place, "results", "tiny")
    assert (early.returncode, early.stdout) == (2, "")
    assert "tiny has no evaluation yet: drawloop build tiny" in early.stderr
    done = drawloop(place, "build", "tiny")
    assert done.returncode == 0, done.stderr
    told = json.loads(drawloop(place, "status", "tiny", "--json").stdout)
    assert {row["asset"] for row in told if row["path"] is None} == set()
    kept = {row["asset"]: row["kept"] for row in told}
    assert kept["evaluation"] == 4 * 4 * 2  # problems, samples, models
    assert "cold_export" in drawloop(place, "status", "tiny").stdout
    said = drawloop(place, "results", "tiny").stdout
    summary = json.loads(drawloop(place, "results", "tiny", "--json").stdout)
    (cold,) = [r for r in summary if (r["model"], r["by"]) == ("cold_model", "all")]
    told_of_it = f"{cold['accuracy']:.2f} [{cold['accuracy_low']:.2f}, {cold['accuracy_high']:.2f}]"
    assert any(line.startswith("cold") and told_of_it in line for line in said.splitlines())
    assert imread(Path(said.split()[-1])).shape[2] == 3


def test_trying_a_version_prints_every_stage_and_draws_its_pictures(place: dict[str, str]) -> None:
    done = drawloop(place, "try", "tiny", "-n", "2")
    assert done.returncode == 0, done.stderr
    for stage in ("teacher", "cold_model", "reflective_model"):
        assert f"== {stage} (oracle)" in done.stdout
    pictures = list((Path(place["DRAWLOOP_DATA"]) / "try" / "tiny").glob("*.png"))
    assert len(pictures) == 8
    assert all(str(picture) in done.stdout for picture in pictures)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan", "nope"), "no version 'nope': there are broken, elsewhere, tight, tiny, trained"),
        (("build", "../tiny"), "no version '../tiny'"),
        (("build", "broken"), "versions/broken.yaml: problems.splits.cold"),
        (("try", "elsewhere"), "huggingface.co"),
        (("build", "--sets", "elsewhere"), "huggingface.co"),
        (("list",), "versions/broken.yaml: problems.splits.cold: 'many'"),
        (("prune", "--yes"), "versions/broken.yaml"),
        (("status",), "versions/broken.yaml"),
        (("try", "tight"), "raise max_turns"),
        (("plan", "tight"), "raise max_turns"),
        (("build", "trained"), "the tiny base is not whole"),
        (("try", "trained", "-n", "1"), "the tiny base is not whole"),
    ],
)
def test_what_a_user_can_mend_is_said_without_a_traceback(
    place: dict[str, str], words: tuple[str, ...], said: str
) -> None:
    add(place, "broken", TINY.replace("cold: 8", "cold: many"))
    add(place, "elsewhere", TINY.replace(
        "teacher: {policy: {kind: oracle}", "teacher: {policy: {kind: checkpoint, model: some/model}"
    ))  # fmt: skip
    add(place, "trained", TRAINING)
    place |= {"DRAWLOOP_WEIGHTS": "/nowhere"}
    add(place, "tight", TINY.replace("max_context: 6144", "max_turns: 1, task_turns: {}"))
    done = drawloop(place, *words)
    assert done.returncode != 0
    assert said in done.stderr
    last = [text for text in done.stderr.splitlines() if text.startswith("drawloop:")]
    assert last
    assert "Traceback" not in "".join(last)


def test_a_plan_tells_what_is_trained_what_grpo_samples_and_what_is_evaluated(
    place: dict[str, str],
) -> None:
    add(place, "trained", TRAINING)
    planned = {
        p["stage"]: p for p in json.loads(drawloop(place, "plan", "trained", "--json").stdout)
    }
    assert [planned[stage]["policy"] for stage in ("cold_model", "grpo_model")] == ["train"] * 2
    assert planned["grpo_model"]["trajectories"] == 3 * 32 * 8
    assert planned["evaluation"]["trajectories"] == 4 * 3 * 4  # problems, tries, models
    assert planned["unseen_size"]["trajectories"] == 3 * 3 * 4
    told = drawloop(place, "plan", "trained").stdout
    assert "Trained here: cold_model, reflective_model, grpo_model." in told
    assert "planned only" not in told


def test_pruning_takes_what_no_version_leads_to_and_leaves_the_rest(place: dict[str, str]) -> None:
    assert drawloop(place, "build", "--sets", "tiny").returncode == 0
    before = parquet(place)
    assert "Nothing to prune" in drawloop(place, "prune", "--yes").stdout
    add(place, "tiny", TINY.replace("min_turns: 2", "min_turns: 3"))
    assert drawloop(place, "build", "--sets", "tiny").returncode == 0
    assert set(before) < set(parquet(place))  # the edited version lies beside the old one
    pruned = drawloop(place, "prune", "--yes").stdout
    assert "Deleted 2 folders" in pruned
    gone = set(before) - set(parquet(place))
    assert {name.split("/")[0] for name in gone} == {"cold_set", "cold_export"}


def test_damage_is_told_pruned_and_built_again(place: dict[str, str]) -> None:
    assert drawloop(place, "build", "--sets", "tiny").returncode == 0
    before = parquet(place)
    data = Path(place["DRAWLOOP_DATA"])
    damaged_assets = ("cold_set", "rl_export", "problems")
    cut, flipped, lost = (next(data.glob(f"{asset}/*/*.parquet")) for asset in damaged_assets)
    cut.write_bytes(cut.read_bytes()[:-9])
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"?")
    (lost.parent / "manifest.json").write_text("{")

    def damaged(*words: str) -> set[str]:
        told = json.loads(drawloop(place, "status", "tiny", "--json", *words).stdout)
        return {line["asset"] for line in told if line["state"].startswith("damaged")}

    assert damaged() == {"cold_set", "problems"}
    assert damaged("--verify") == {"cold_set", "problems", "rl_export"}
    flipped.write_bytes(b"")
    assert "Deleted 3 folders" in drawloop(place, "prune", "--yes").stdout
    assert drawloop(place, "build", "--sets", "tiny").returncode == 0
    assert parquet(place) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DRAWLOOP_DATA", "foo://bar"),
        ("DRAWLOOP_DATA", "/proc/nowhere"),
        ("DAGSTER_HOME", "/nowhere"),
    ],
)
def test_a_place_that_cannot_be_used_is_said_in_a_line(
    place: dict[str, str], name: str, value: str
) -> None:
    done = drawloop(
        {**place, name: value}, *(("try", "tiny") if "DATA" in name else ("build", "tiny"))
    )
    assert done.returncode == 2
    assert done.stderr.startswith("drawloop: ")
    assert len(done.stderr.splitlines()) == 1


def test_workers_end_when_their_parent_is_killed(place: dict[str, str]) -> None:
    add(place, "tiny", TINY.replace("skills: 6", "skills: 4000"))
    process = subprocess.Popen(
        [BIN / "drawloop", "build", "--sets", "tiny"],
        env={**place, "DRAWLOOP_WORKERS": "2"}, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    workers: list[int] = []
    deadline = time.monotonic() + 60
    while len(workers) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
        workers = _spawned_by(process.pid)
    process.kill()
    process.wait()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.2)


def _spawned_by(parent: int) -> list[int]:
    """Worker processes among a process's children, by /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            about = (entry / "stat").read_text().rsplit(") ", 1)[1].split()
            command = (entry / "cmdline").read_text()
        except OSError:
            continue
        if int(about[1]) == parent and "spawn_main" in command:
            found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_two_versions_built_at_once_are_what_each_is_alone(
    place: dict[str, str], tmp_path: Path
) -> None:
    add(place, "other", TINY.replace("seed: 5", "seed: 6"))
    both = [
        subprocess.Popen(
            [BIN / "drawloop", "build", "--sets", name], env=place, stderr=subprocess.DEVNULL
        )
        for name in ("tiny", "other")
    ]
    assert [process.wait(300) for process in both] == [0, 0]
    together = parquet(place)
    alone = {**place, "DRAWLOOP_DATA": str(tmp_path / "alone")}
    for name in ("tiny", "other"):
        assert drawloop(alone, "build", "--sets", name).returncode == 0
    assert parquet(alone) == together


@pytest.mark.slow
def test_one_version_built_twice_at_once_is_what_it_is_built_once(
    place: dict[str, str], tmp_path: Path
) -> None:
    both = [
        subprocess.Popen(
            [BIN / "drawloop", "build", "--sets", "tiny"], env=place, stderr=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    assert [process.wait(300) for process in both] == [0, 0]
    alone = {**place, "DRAWLOOP_DATA": str(tmp_path / "alone")}
    assert drawloop(alone, "build", "--sets", "tiny").returncode == 0
    assert parquet(alone) == parquet(place)
    assert list((tmp_path / "data" / "tmp").iterdir()) == []


def killed_builds(place: dict[str, str], moments: list[float]) -> None:
    """Starts a build as often as there are moments, and kills each with SIGKILL at its own."""
    for moment in moments:
        process = subprocess.Popen(
            [BIN / "drawloop", "build", "--sets", "tiny"], env=place, stderr=subprocess.DEVNULL
        )
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for folder in Path(place["DRAWLOOP_DATA"]).glob("*/*"):
            manifest = folder / "manifest.json"
            if folder.parent.name != "tmp" and manifest.exists():
                parts = json.loads(manifest.read_text())["parts"]
                assert all(
                    (folder / name).stat().st_size == p["bytes"] for name, p in parts.items()
                )


@pytest.mark.slow
def test_builds_that_are_killed_leave_whole_assets_and_the_next_ends_with_equal_bytes(
    place: dict[str, str], tmp_path: Path
) -> None:
    calm = {**place, "DRAWLOOP_DATA": str(tmp_path / "calm")}
    start = time.monotonic()
    assert drawloop(calm, "build", "--sets", "tiny").returncode == 0
    took = time.monotonic() - start
    rng = random.Random(0)
    killed_builds(place, [rng.uniform(0.4, 1.0) * took for _ in range(4)])
    assert drawloop(place, "build", "--sets", "tiny").returncode == 0
    assert parquet(place) == parquet(calm)


@pytest.mark.slow
def test_a_backfill_from_the_bare_command_line_ends_in_success(place: dict[str, str]) -> None:
    add(place, "other", TINY.replace("seed: 5", "seed: 6"))
    done = subprocess.run(
        [BIN / "dagster", "job", "backfill", "-w", ROOT / "workspace.yaml", "--job", "sets",
         "--partitions", "tiny,other", "--noprompt"],
        env=place, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    deadline = time.monotonic() + 240  # the command starts the runs and does not wait for them
    for name in ("tiny", "other"):
        while not all(
            row["path"]
            for row in json.loads(drawloop(place, "status", name, "--json").stdout)
            if row["asset"] not in ("grpo_model", "evaluation", "gallery")
        ):
            assert time.monotonic() < deadline, drawloop(place, "status", name).stdout
            time.sleep(1)


COLD = TINY.replace(
    "cold_model: {policy: {kind: oracle, rates: {slip: 0.4}}, sampling: {samples: 3}}",
    """base_model: {kind: tiny}
cold_model:
  policy: {kind: train, steps: 12, batch: 4, checkpoint_every: 2}
  sampling: {samples: 2, max_tokens: 24}""",
).replace("largest: 140", "largest: 112")


@pytest.mark.slow
def test_trainings_that_are_killed_go_on_and_the_next_build_ends_with_equal_bytes(
    place: dict[str, str], smalls: "dict[str, Small]", tmp_path: Path
) -> None:
    shutil.copytree(smalls["qwen2.5-vl"].folder, lay_base(tmp_path / "w"), dirs_exist_ok=True)
    place |= {"DRAWLOOP_WEIGHTS": str(tmp_path / "w"), "OMP_NUM_THREADS": "1"}
    add(place, "tiny", COLD)
    calm = {**place, "DRAWLOOP_DATA": str(tmp_path / "calm")}
    assert "Trained here: cold_model" in drawloop(place, "plan", "tiny").stdout
    done = drawloop(calm, "build", "--sets", "tiny")
    assert done.returncode == 0, done.stderr
    for steps in (3, 7):
        process = subprocess.Popen(
            [BIN / "drawloop", "build", "--sets", "tiny"], env=place, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while _steps(place) < steps:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.kill()
        process.wait()
    assert drawloop(place, "build", "--sets", "tiny").returncode == 0
    weights = [
        next(Path(there["DRAWLOOP_DATA"]).glob("cold_model/*/model/model.safetensors"))
        for there in (place, calm)
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    ours, theirs = ({n: b for n, b in parquet(p).items() if n.endswith(".parquet")}
                    for p in (place, calm))  # fmt: skip
    assert ours == theirs


def _steps(place: dict[str, str]) -> int:
    """Steps that a training has made so far."""
    found = list(Path(place["DRAWLOOP_DATA"]).glob("runs/cold_model-*/metrics.jsonl"))
    return len(found[0].read_text().splitlines()) if found else 0
