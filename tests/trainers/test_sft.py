"""SFT from start to end: exact resuming, exact accumulation, and what stops a run."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainers.conftest import Small, export, told
from trainers import checkpoint, learner, sft
from trainers.checkpoint import TrainingError
from trainers.model import save
from trainers.record import METRICS
from trainers.sft import SftConfig, main, train

ROOT = Path(__file__).parents[2]
# As many threads as here: sums in another order differ in their last bits.
ALIKE = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}


def config(small: Small, exported: str, out: Path, **changes: Any) -> SftConfig:
    plain = SftConfig(
        model=str(small.folder),
        data=[exported],
        out=str(out),
        batch=5,
        micro_batch=2,
        epochs=2,
        lr=3e-3,
        checkpoint_every=2,
        validate_every=2,
    )
    return replace(plain, **changes)


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / METRICS).read_text().splitlines()]


def losses(out: Path) -> list[float]:
    """Of each update; every update must be there once."""
    found = [line for line in lines(out) if "loss" in line]
    assert [line["step"] for line in found] == list(range(1, len(found) + 1))
    return [line["loss"] for line in found]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def end_in_update(made: SftConfig, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is interrupted when so many updates are done."""
    update = sft._Run._update

    def dying(self: Any, *given: Any) -> Any:
        if self.step == step:
            raise KeyboardInterrupt
        return update(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(sft._Run, "_update", dying)
        with pytest.raises(KeyboardInterrupt):
            train(made)


@pytest.fixture(scope="module")
def undisturbed(
    smalls: dict[str, Small], exported: str, tmp_path_factory: pytest.TempPathFactory
) -> SftConfig:
    """A finished run of six updates over two epochs, with a validation after each second."""
    out = tmp_path_factory.mktemp("undisturbed")
    made = config(smalls["qwen2.5-vl"], exported, out, validation_share=0.2)
    train(made)
    return made


# A run -------------------------------------------------------------------------------------------


def test_both_families_learn_and_their_models_load(small: Small, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    data = export(tmp_path / "data", small.name, told(small.family, 6))
    out = tmp_path / "run"
    facts = train(config(small, data, out, batch=6, epochs=12, warmup=0.0, decay=False))
    seen = losses(out)
    assert len(seen) == 12
    assert seen[-1] < 0.7 * seen[0]
    assert facts == json.loads((out / checkpoint.DONE).read_text())
    assert (facts["kind"], facts["steps"], facts["rows"]) == ("sft", 12, 6)
    model = AutoModelForImageTextToText.from_pretrained(out / "model")
    assert type(model) is type(small.load())
    assert AutoProcessor.from_pretrained(out / "model").tokenizer.get_vocab()


def test_each_update_says_what_it_did(undisturbed: SftConfig) -> None:
    out = Path(undisturbed.out)
    updates = [line for line in lines(out) if "loss" in line]
    assert set(updates[0]) == {"step", "loss", "grad_norm", "lr", "tokens", "seconds", "rows"}
    rates = [line["lr"] for line in updates]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == 3e-3
    assert rates[-1] < 1e-3
    validated = [line["step"] for line in lines(out) if "validation_loss" in line]
    assert validated == [2, 4, 6]
    facts = json.loads((out / checkpoint.DONE).read_text())
    assert facts["held_out"] > 0
    assert facts["rows"] + facts["held_out"] == 12
    assert sum(line["rows"] for line in updates) == 2 * facts["rows"]


def test_a_finished_run_is_not_run_again(
    undisturbed: SftConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = json.loads((Path(undisturbed.out) / checkpoint.DONE).read_text())
    monkeypatch.setattr(sft, "_Run", pytest.fail)
    assert train(undisturbed) == facts


def test_micro_batches_do_not_change_a_run(undisturbed: SftConfig, tmp_path: Path) -> None:
    whole = replace(undisturbed, micro_batch=5, out=str(tmp_path))
    train(whole)
    assert losses(tmp_path) == pytest.approx(losses(Path(undisturbed.out)), rel=1e-5)


def test_each_epoch_has_every_row_once_in_an_order_of_its_own(
    undisturbed: SftConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    encoded = sft._Run._encoded

    def seen(self: Any, refs: Any) -> Any:
        given.extend(refs)
        return encoded(self, refs)

    monkeypatch.setattr(sft._Run, "_encoded", seen)
    train(replace(undisturbed, out=str(tmp_path), validation_share=0.0))
    first, second = given[:12], given[12:]
    assert set(first) == set(second)
    assert len(set(first)) == len(second) == 12
    assert first != second


def test_rows_that_do_not_fit_are_said_and_counted(
    one: Small, exported: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = train(config(one, exported, tmp_path, max_tokens=150, steps=1))
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("refused: ")]
    assert facts["refused"]
    assert said == [f"refused: {row['id']}, {row['length']} tokens" for row in facts["refused"]]
    assert facts["rows"] + len(facts["refused"]) == 12


# Kills -------------------------------------------------------------------------------------------


KILLED = """
import os, signal, sys
from trainers import sft

update = sft._Run._update

def dying(self, *given):
    if self.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return update(self, *given)

sft._Run._update = dying
sft.main(sys.argv[1:])
"""


def test_a_run_that_is_killed_and_started_again_is_the_run_undisturbed(
    undisturbed: SftConfig, tmp_path: Path
) -> None:
    """Killed outright in its fourth update, one after a checkpoint; the next are being drawn."""
    out = tmp_path / "run"
    made, path = replace(undisturbed, out=str(out)), tmp_path / "config.json"
    path.write_text(json.dumps(asdict(made)))
    command = [sys.executable, "-c", KILLED, str(path)]
    done = subprocess.run(command, cwd=ROOT, env=ALIKE, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert losses(out) == losses(Path(undisturbed.out))[:3]
    assert checkpoint.steps(out) == [2]
    train(made)
    whole = Path(undisturbed.out)
    assert losses(out) == losses(whole)
    plain = [{k: v for k, v in line.items() if k != "seconds"} for line in lines(out)]
    assert plain == [{k: v for k, v in line.items() if k != "seconds"} for line in lines(whole)]
    assert same(weights(out / "model"), weights(whole / "model"))


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_whatever_update_a_run_ends_in_it_goes_on_to_the_same_weights(
    stop: int, undisturbed: SftConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = replace(undisturbed, out=str(tmp_path))
    end_in_update(made, stop, monkeypatch)
    train(made)
    assert losses(tmp_path) == losses(Path(undisturbed.out))
    assert same(weights(tmp_path / "model"), weights(Path(undisturbed.out) / "model"))


def test_a_half_written_checkpoint_is_passed_over_and_the_run_ends_the_same(
    undisturbed: SftConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = replace(undisturbed, out=str(tmp_path), checkpoint_every=1)
    end_in_update(made, 3, monkeypatch)
    assert checkpoint.steps(tmp_path) == [2, 3]
    path = tmp_path / "checkpoints" / "000003" / checkpoint.TENSORS
    path.write_bytes(path.read_bytes()[:1000])
    train(made)
    assert "000003 is damaged (it is cut off): the one before is taken" in capsys.readouterr().out
    assert losses(tmp_path) == losses(Path(undisturbed.out))
    assert same(weights(tmp_path / "model"), weights(Path(undisturbed.out) / "model"))


# Which weights -----------------------------------------------------------------------------------


def test_frozen_weights_stay_and_all_others_move(small: Small, tmp_path: Path) -> None:
    data = export(tmp_path / "data", small.name, told(small.family, 3))
    out = tmp_path / "run"
    made = config(small, data, out, steps=2, batch=3, freeze_vision=True, freeze_projector=True)
    train(made)
    before, after = weights(small.folder), weights(out / "model")
    stayed = {name for name in before if torch.equal(before[name], after[name])}
    assert stayed == {name for name in before if "visual." in name}


def test_adapters_are_trained_merged_and_resumed(
    one: Small, exported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForImageTextToText

    whole = config(one, exported, tmp_path / "whole", lora_rank=2, freeze_vision=True, steps=4)
    train(whole)
    before, after = weights(one.folder), weights(tmp_path / "whole" / "model")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {
        name
        for name in before
        if name.endswith("weight") and ("_proj" in name or "merger.mlp" in name)
        if "visual.blocks" not in name
    }
    AutoModelForImageTextToText.from_pretrained(tmp_path / "whole" / "model")
    made = replace(whole, out=str(tmp_path / "run"))
    end_in_update(made, 3, monkeypatch)
    kept = checkpoint.newest(tmp_path / "run")
    assert kept is not None
    assert all("lora_" in name for name in kept[0]["trained"])
    train(made)
    assert same(weights(tmp_path / "run" / "model"), after)


def test_another_attention_gives_the_same_run_and_is_really_another(
    undisturbed: SftConfig, tmp_path: Path
) -> None:
    made = replace(undisturbed, out=str(tmp_path), attention="eager", steps=2)
    assert sft._Run(made).learner.bare.trunk.config._attn_implementation == "eager"
    train(made)
    assert losses(tmp_path)[0] == pytest.approx(losses(Path(undisturbed.out))[0], rel=1e-5)
    usual = sft._Run(replace(undisturbed, out=str(tmp_path / "usual"))).learner.bare.trunk
    assert usual.config._attn_implementation == "sdpa"


def test_checkpointed_layers_give_the_same_run(undisturbed: SftConfig, tmp_path: Path) -> None:
    train(replace(undisturbed, out=str(tmp_path), gradient_checkpointing=True, steps=2))
    assert losses(tmp_path)[0] == pytest.approx(losses(Path(undisturbed.out))[0], rel=1e-6)


# What stops a run --------------------------------------------------------------------------------


def test_a_folder_of_another_configuration_is_refused(undisturbed: SftConfig) -> None:
    with pytest.raises(
        TrainingError, match="holds a run with another lr, seed: name another folder"
    ):
        train(replace(undisturbed, lr=1.0, seed=7))


def test_a_run_that_its_gpu_was_too_small_for_goes_on_with_smaller_micro_batches(
    undisturbed: SftConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, path = replace(undisturbed, out=str(tmp_path / "run")), tmp_path / "config.json"
    update = sft._Run._update

    def full(self: Any, *given: Any) -> Any:
        if self.step == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        return update(self, *given)

    path.write_text(json.dumps(asdict(made)))
    with monkeypatch.context() as patch:
        patch.setattr(sft._Run, "_update", full)
        with pytest.raises(SystemExit):
            main([str(path)])
    with pytest.raises(TrainingError, match="another lr: name another folder"):
        train(replace(made, micro_batch=1, lr=1.0))
    train(replace(made, micro_batch=1, gradient_checkpointing=True))
    assert losses(Path(made.out)) == pytest.approx(losses(Path(undisturbed.out)), rel=1e-5)


def poison(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """One weight of a run becomes no number when so many updates are done."""
    update = sft._Run._update

    def poisoned(self: Any, *given: Any) -> Any:
        if self.step == step:
            with torch.no_grad():
                self.learner.bare.trunk.lm_head.weight[7] = float("nan")
        return update(self, *given)

    monkeypatch.setattr(sft._Run, "_update", poisoned)


def test_a_loss_that_is_no_number_stops_the_run_and_the_last_checkpoint_stays(
    one: Small, exported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(one, exported, tmp_path)
    poison(monkeypatch, 3)
    with pytest.raises(TrainingError, match=r"in update 4 the loss is nan.*step 2 is good"):
        train(made)
    assert len(losses(tmp_path)) == 3
    kept = checkpoint.newest(tmp_path)
    assert kept is not None
    assert kept[1]["step"] == 2
    assert all(weight.isfinite().all() for weight in kept[0]["trained"].values())
    assert not (tmp_path / "model").exists()


def test_a_loss_that_is_no_number_from_the_start_says_that_nothing_is_kept(
    one: Small, exported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, 0)
    with pytest.raises(TrainingError, match=r"in update 1 the loss is nan.*no checkpoint yet"):
        train(config(one, exported, tmp_path))


@pytest.fixture
def base(one: Small, tmp_path: Path) -> Path:
    """A model of the test's own, to be changed."""
    save(one.load(), one.processor, tmp_path / "base")
    return tmp_path / "base"


def change(model: Path, by: float) -> None:
    kept = {name: weight + by for name, weight in weights(model).items()}
    save_file(kept, model / "model.safetensors", {"format": "pt"})


def test_a_checkpoint_with_a_weight_that_is_no_number_is_refused(
    base: Path, one: Small, exported: str, tmp_path: Path
) -> None:
    kept = weights(base)
    kept["model.norm.weight"][-1] = float("inf")
    save_file(kept, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(OSError, match=f"{base} is no good checkpoint: not all of .*norm.weight"):
        train(config(one, exported, tmp_path / "run", model=str(base)))


def test_adapters_do_not_go_on_over_another_model_at_the_same_path(
    base: Path, one: Small, exported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config(one, exported, tmp_path / "run", model=str(base), lora_rank=2, steps=4)
    end_in_update(made, 3, monkeypatch)
    change(base, 0.01)
    with pytest.raises(TrainingError, match=f"began with other weights than {base} holds now"):
        train(made)


def test_a_model_that_was_mended_before_anything_was_kept_is_trained(
    base: Path, one: Small, exported: str, tmp_path: Path
) -> None:
    """The folder is not empty: who launches a trainer leaves its own files there."""
    made = config(one, exported, tmp_path / "run", model=str(base), steps=1)
    whole = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(whole[:-1000])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "asked.json").write_text("{}")
    with pytest.raises(OSError, match="is no whole checkpoint"):
        train(made)
    (base / "model.safetensors").write_bytes(whole)
    assert train(made)["steps"] == 1


def test_a_finished_run_stands_unless_other_weights_lie_where_it_began(
    base: Path, one: Small, exported: str, tmp_path: Path
) -> None:
    made = config(one, exported, tmp_path / "run", model=str(base), steps=1)
    facts = train(made)
    assert train(made) == facts
    change(base, 0.01)
    with pytest.raises(TrainingError, match=f"began with other weights than {base} holds now"):
        train(made)
    (base / "model.safetensors").unlink()
    assert train(made) == facts


def test_pictures_of_another_size_than_they_say_are_named(one: Small, tmp_path: Path) -> None:
    data = export(
        tmp_path / "data", one.name, told(one.family, 1), sizes=[{"width": 56, "height": 84}]
    )
    said = r"train-00000.parquet, row group 0, row 0: image \w+ is not of its size"
    with pytest.raises(ValueError, match=said):
        train(config(one, data, tmp_path / "run"))


def test_a_full_disk_is_a_clear_error_and_the_run_goes_on_when_there_is_room(
    undisturbed: SftConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = replace(undisturbed, out=str(tmp_path), checkpoint_every=1)
    write = torch.save

    def full(tensors: Any, path: Path) -> None:
        if len(checkpoint.steps(tmp_path)) == 2:
            raise OSError(28, "No space left on device")
        write(tensors, path)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        said = "No space left on device. Make room and start again: the run goes on from step 2"
        with pytest.raises(TrainingError, match=said):
            train(made)
    train(made)
    assert same(weights(tmp_path / "model"), weights(Path(undisturbed.out) / "model"))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"batch": 0}, "batch is 0; it must be 1 or more"),
    ({"checkpoint_every": 0}, "checkpoint_every is 0"),
    ({"epochs": 0}, "epochs is 0, and steps is 0: there is nothing to do"),
    ({"data": ["/nowhere/cold_export/none"]}, "has no manifest.json: name the folder"),
    ({"model": "/nowhere"}, "/nowhere"),
    ({"attention": "flash_attention_2"}, "attention flash_attention_2 cannot be had"),
    ({"attention": "other"}, "attention is 'other'; there are sdpa, flash_attention_2"),
    ({"max_tokens": 8}, "are longer than 8 tokens"),
]


@pytest.mark.parametrize(("changes", "said"), BAD)
def test_bad_input_is_one_line_and_a_status(
    changes: dict[str, Any],
    said: str,
    one: Small,
    exported: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = asdict(config(one, exported, tmp_path / "run", **changes))
    path = tmp_path / "config.json"
    path.write_text(json.dumps(given))
    with pytest.raises(SystemExit) as ended:
        main([str(path)])
    assert ended.value.code == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("sft: ")
    assert said in last


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Expecting property name"),
        ("{}", "missing 3 required positional arguments"),
        ('{"model": "m", "data": [], "out": "o", "learning_rate": 1}', "learning_rate"),
    ],
)
def test_a_configuration_that_is_none_says_what_is_wrong(
    content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(SystemExit) as ended:
        main([str(path)])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert str(path) in err
    assert said in err


def test_a_set_for_another_family_is_refused(
    smalls: dict[str, Small], exported: str, tmp_path: Path
) -> None:
    made = config(smalls["qwen3-vl"], exported, tmp_path)
    with pytest.raises(ValueError, match=r"was written for qwen2.5-vl, the model is of qwen3-vl"):
        train(made)


# Threads and processes ---------------------------------------------------------------------------


def test_a_launcher_s_accumulation_does_not_divide_gradients_a_second_time(
    undisturbed: SftConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    train(replace(undisturbed, out=str(tmp_path), steps=2))
    norms = [
        next(line["grad_norm"] for line in lines(out) if "loss" in line)
        for out in (tmp_path, Path(undisturbed.out))
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)


def test_only_one_thread_reads_rows(
    undisturbed: SftConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open parquet files and tokenizers are not made for two; validation reads rows too."""
    readers = set()
    encoded = sft._Run._encoded

    def seen(self: Any, refs: Any) -> Any:
        readers.add(threading.get_ident())
        return encoded(self, refs)

    monkeypatch.setattr(sft._Run, "_encoded", seen)
    train(replace(undisturbed, out=str(tmp_path), steps=2))
    assert len(readers) == 1
    assert threading.get_ident() not in readers


@pytest.fixture
def told_to_dagster(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    told: list[Any] = []
    monkeypatch.setattr(sft, "tell_dagster", told.append)
    return told


def test_dagster_is_told_of_a_run_and_of_one_that_was_finished_before(
    undisturbed: SftConfig, tmp_path: Path, told_to_dagster: list[Any]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(asdict(undisturbed)))
    main([str(path)])
    assert told_to_dagster == [json.loads((Path(undisturbed.out) / checkpoint.DONE).read_text())]


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


TORCHRUN = ("torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1")
ACCELERATE = ("accelerate.commands.launch", "--cpu", "--num_processes=2", "--num_machines=1")
ACCELERATE += ("--mixed_precision=no", "--dynamo_backend=no", "--gradient_accumulation_steps=4")


def in_two_processes(
    *command: str, by: tuple[str, ...] = TORCHRUN
) -> subprocess.CompletedProcess[str]:
    port = "main_process_port" if by is ACCELERATE else "master-port"
    launcher = [sys.executable, "-m", *by, f"--{port}={free_port()}"]
    environment = {**ALIKE, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*launcher, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_processes_make_the_same_run_as_one(
    launcher: tuple[str, ...], undisturbed: SftConfig, tmp_path: Path
) -> None:
    """Batches of five and rests: the second process has a row less, and fills up."""
    out = tmp_path / "run"
    path = tmp_path / "config.json"
    path.write_text(json.dumps(asdict(replace(undisturbed, out=str(out)))))
    done = in_two_processes("-m", "trainers.sft", str(path), by=launcher)
    assert done.returncode == 0, done.stderr[-2000:]
    assert_the_same_run(out, Path(undisturbed.out))


def test_a_model_that_is_spread_over_two_processes_makes_the_same_run_through_a_kill(
    undisturbed: SftConfig, tmp_path: Path
) -> None:
    out, path, script = tmp_path / "run", tmp_path / "config.json", tmp_path / "killed.py"
    made = replace(undisturbed, out=str(out), shard=True, gradient_checkpointing=True)
    path.write_text(json.dumps(asdict(made)))
    script.write_text(KILLED)
    assert in_two_processes(str(script), str(path)).returncode != 0
    assert checkpoint.steps(out) == [2]
    done = in_two_processes("-m", "trainers.sft", str(path))
    assert done.returncode == 0, done.stderr[-2000:]
    assert_the_same_run(out, Path(undisturbed.out))
    from transformers import AutoModelForImageTextToText

    AutoModelForImageTextToText.from_pretrained(out / "model")


def assert_the_same_run(out: Path, whole: Path) -> None:
    """Up to the order in which numbers are added."""
    assert losses(out) == pytest.approx(losses(whole), rel=1e-5)
    validation = [
        [line["validation_loss"] for line in lines(folder) if "validation_loss" in line]
        for folder in (out, whole)
    ]
    assert validation[0] == pytest.approx(validation[1], rel=1e-5)
    after = weights(out / "model")
    before = weights(whole / "model")
    assert after.keys() == before.keys()
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, rtol=1e-3, atol=1e-4, msg=name)


def test_a_model_that_cannot_be_spread_says_why(one: Small, exported: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="several processes: set lora_rank 0, and start it"):
        train(config(one, exported, tmp_path, shard=True))


def test_a_launcher_that_would_spread_it_in_its_own_way_is_refused(
    one: Small, exported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checkpoints would hold the main process's share, and nothing of the others'."""
    from accelerate.utils import DistributedType

    launched = SimpleNamespace(distributed_type=DistributedType.FSDP, num_processes=2)
    monkeypatch.setattr(learner, "Accelerator", lambda **_: launched)
    with pytest.raises(TrainingError, match="plain processes, and set shard"):
        train(config(one, exported, tmp_path))


def test_the_rate_never_passes_its_peak_where_the_warm_up_is_no_whole_number_of_updates() -> None:
    rates = [learner.Rate(peak=1.0, warmup=0.03, decay=True).at(n, 672) for n in range(672)]
    assert rates[:2] == pytest.approx([1 / 20.16, 2 / 20.16])  # 3 % of 672 updates
    assert max(rates) == rates[20] == 1.0
    assert rates[21:] == sorted(rates[21:], reverse=True)
