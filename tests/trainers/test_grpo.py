"""GRPO: what a step does with its groups, and that a run ends where it must."""

import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from assets.bodies import TABLES
from pipeline import grammar, models, rows, tokens
from pipeline.models import weights_sha256
from pipeline.protocol import FAMILIES
from pipeline.rollout import read_turn
from pipeline.store import Store, Writer
from pipeline.types import Answer, Modality, PolicyError, Problem, State, Step, Turn
from tests.conftest import box
from tests.trainers.conftest import Small, problem_of
from trainers import grpo, grpo_config
from trainers.asked import Asked
from trainers.checkpoint import TrainingError
from trainers.encode import Batch, batch
from trainers.exported import WrongData
from trainers.grpo import GrpoConfig, Paid, _Run, train
from trainers.losses import advantages, grpo_loss


def rl_export(root: Path, small: Small, count: int, **changes: object) -> str:
    made = [problem_of(list(Modality)[n % 3], small.family, n) for n in range(count)]
    return rl_export_of(root, small.name, made, **changes)


def rl_export_of(root: Path, name: str, asked: Sequence[Problem], **changes: object) -> str:
    """The folder of an export of problems, as the pipeline writes it."""
    store = Store.at(root)
    with Writer(store, "rl_export", "1" * 16, TABLES["rl_export"]) as writer:
        for problem in asked:
            wire = {"family": name, "max_turns": 4, "max_images": 42}
            writer.append("train", {**rows.problem_row(problem), **wire, **changes})
    return str(root / "rl_export" / ("1" * 16))


Says = Callable[[State], list[str]]


class Scripted:
    """A policy that says fixed texts, as the ids that they are written as."""

    def __init__(self, small: Small, says: Says, cut: Callable[[State], bool] = lambda _: False):
        self.small, self.says, self.cut = small, says, cut

    async def act(self, state: State) -> Turn:
        text = self.says(state)[len(state.turns)]
        ids = self.small.words.write(text)
        ids = ids[:5] if self.cut(state) else (*ids, self.small.words.end)
        return read_turn(state, text, self.small.family, ids=ids, truncated=self.cut(state))


def answer(letter: str) -> str:
    return grammar.write(Answer("I see.", letter))


def by_sample(letters: str) -> Says:
    return lambda state: [answer(letters[state.sample])]


@pytest.fixture
def problems(tmp_path: Path, one: Small) -> str:
    return rl_export(tmp_path / "data", one, 4)


def config_of(one: Small, problems: str, out: Path, **changes: Any) -> GrpoConfig:
    small = {"problems_per_step": 2, "samples": 4, "max_tokens": 8, "lr": 1e-3, "in_flight": 16}
    given = {"model": str(one.folder), "data": [problems], "out": str(out), "steps": 1}
    return GrpoConfig(**{**given, **small, **changes})  # type: ignore[arg-type]


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def weights(run: _Run) -> list[torch.Tensor]:
    return [p.detach().clone() for p in run.learner.scorer.parameters()]


def moved(before: Sequence[torch.Tensor], run: _Run) -> bool:
    return any(not torch.equal(a, b) for a, b in zip(before, weights(run), strict=True))


def advance(run: _Run) -> dict[str, Any]:
    """The one step of a run, without the folder around it."""
    return run._learn(*paid_in(run))


def paid_in(run: _Run) -> tuple[list[grpo.Group], torch.Tensor]:
    """The groups of a step and their advantages."""
    groups = run._groups()
    rewards = torch.tensor([[row.score.total for row in group] for group in groups])
    return groups, advantages(rewards)


def test_groups_that_do_not_vary_leave_every_weight_as_it_was(
    one: Small, problems: str, tmp_path: Path
) -> None:
    policy = Scripted(one, by_sample("AAAA"))
    run = _Run(config_of(one, problems, tmp_path), lambda _: policy)
    before = weights(run)
    numbers = advance(run)
    assert numbers["grad_norm"] == 0
    assert not moved(before, run)


def test_a_right_answer_grows_likelier_and_a_wrong_one_less_likely(
    one: Small, problems: str, tmp_path: Path
) -> None:
    policy = Scripted(one, by_sample("AABB"))
    run = _Run(config_of(one, problems, tmp_path, updates=1, lr=1e-4), lambda _: policy)
    groups = run._groups()
    examples = [run._example(row) for row in groups[0]]
    before = [float(p) for p in logprobs(run, examples)]
    advance(run)
    after = [float(p) for p in logprobs(run, examples)]
    assert after[0] > before[0]
    assert after[3] < before[3]


def logprobs(run: _Run, examples: Sequence[Any]) -> torch.Tensor:
    made = batch(examples, run.learner.words, run.learner.processor)
    with torch.no_grad():
        return run.learner.scorer(made.inputs, made.mask)[0].sum(1)


def test_whatever_ends_a_rollout_but_an_answer_earns_nothing(
    one: Small, problems: str, tmp_path: Path
) -> None:
    def says(state: State) -> list[str]:
        picture = grammar.write(Step("Here.", (box(0, 0, 20, 20, "cat", k=1),)))
        far = grammar.write(Step("There.", (box(0, 0, 20, 20, "cat", k=99),)))
        scripts = {
            0: [answer("A")],
            1: ["nonsense"],
            2: [far],
            3: [picture, picture],
            4: [picture.replace("20", str(20 + n)) for n in range(4)],
            5: [answer("A")],
        }
        return scripts[state.sample]

    policy = Scripted(one, says, cut=lambda state: state.sample == 5)
    config = config_of(one, problems, tmp_path, samples=6)
    group = _Run(config, lambda _: policy)._groups()[0]
    stops = [str(row.trajectory.stop) for row in group]
    assert stops == [
        "answered", "malformed", "bad_op", "repeated_op", "too_many_turns", "truncated",
    ]  # fmt: skip
    assert [row.score.total for row in group] == [2.0, 0, 0, 0, 0, 0]


def test_before_its_first_update_a_step_has_a_ratio_of_one_everywhere(
    one: Small, problems: str, tmp_path: Path
) -> None:
    policy = Scripted(one, by_sample("AABB"))
    run = _Run(config_of(one, problems, tmp_path), lambda _: policy)
    examples = [run._example(row) for group in run._groups() for row in group]
    paid = [Paid(example, 1.0) for example in examples]
    kept = run._logprobs(paid)
    for micro, old in zip(run._batches(paid), kept, strict=True):
        now, _ = run.learner.scorer(micro.inputs, micro.mask)
        assert torch.allclose((now - old)[micro.mask].exp(), torch.ones(()), atol=1e-5)


def test_old_log_probabilities_of_every_update_are_those_before_the_first(
    one: Small, problems: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[torch.Tensor, torch.Tensor]] = []

    def watched(logprobs: torch.Tensor, before: torch.Tensor, *given: Any, **how: Any) -> Any:
        made.append((logprobs.detach(), before))
        return grpo_loss(logprobs, before, *given, **how)

    policy = Scripted(one, by_sample("AABB"))
    config = config_of(one, problems, tmp_path, updates=2)
    untouched = _Run(config, lambda _: policy)
    groups, advantage = paid_in(untouched)
    (expected,) = untouched._logprobs(untouched._paid(groups[1:], advantage[1:]))
    monkeypatch.setattr(grpo, "grpo_loss", watched)
    advance(_Run(config, lambda _: policy))
    (first, first_old), (second, second_old) = made
    assert torch.equal(first, first_old)
    torch.testing.assert_close(second_old, expected, rtol=1e-5, atol=1e-5)
    assert (second - second_old).abs().max() > 0.01  # by then the weights have moved


def test_a_group_without_variance_stays_in_the_mean(
    one: Small, problems: str, tmp_path: Path
) -> None:
    def says(state: State) -> list[str]:
        return [answer("A" if state.problem.id == level else "AABB"[state.sample])]

    policy = Scripted(one, says)
    runs = [_Run(config_of(one, problems, tmp_path, updates=1), lambda _: policy) for _ in range(2)]
    level = runs[0].asked.step(0, 2, 0)[0].id
    groups, advantage = paid_in(runs[0])
    both = runs[0]._learn(groups, advantage)["grad_norm"]
    alone = runs[1]._learn(groups[1:], advantage[1:])["grad_norm"]
    assert alone
    assert both == pytest.approx(alone / 2, rel=1e-5)


def test_the_sampler_s_log_probabilities_are_the_trainer_s_at_any_temperature(
    one: Small, problems: str, tmp_path: Path
) -> None:
    """With the ids that neither may give out: those that stand for pictures."""
    run = _Run(config_of(one, problems, tmp_path, temperature=0.7, micro_batch=16), None)
    graded = [row for group in run._groups() for row in group]
    paid = [Paid(run._example(row), 1.0) for row in graded]
    (recomputed,) = run._logprobs(paid)
    said = [p for row in graded for turn in row.trajectory.turns for p in turn.logprobs or ()]
    (micro,) = run._batches(paid)
    torch.testing.assert_close(recomputed[micro.mask], torch.tensor(said), rtol=0, atol=1e-4)


def test_an_update_moves_weights_by_the_rate_that_it_tells(
    one: Small, problems: str, tmp_path: Path
) -> None:
    """Adam's first update moves each weight that has a gradient by the rate."""
    policy = Scripted(one, by_sample("AABB"))
    config = config_of(one, problems, tmp_path, steps=10, warmup=0.5, updates=1)
    run = _Run(config, lambda _: policy)
    before = weights(run)
    assert advance(run)["lr"] == pytest.approx(1e-3 / 5)
    apart = max(float((a - b).abs().max()) for a, b in zip(before, weights(run), strict=True))
    assert apart == pytest.approx(1e-3 / 5, rel=0.01)


def test_a_gradient_is_clipped_to_the_norm_that_is_allowed(
    one: Small, problems: str, tmp_path: Path
) -> None:
    policy = Scripted(one, by_sample("AABB"))
    config = config_of(one, problems, tmp_path, updates=1, max_grad_norm=0.01)
    run = _Run(config, lambda _: policy)
    assert advance(run)["grad_norm"] > 0.1  # it is told as it was
    moments = [state["exp_avg"] for state in run.learner.optimizer.optimizer.state.values()]
    taken = torch.cat([moment.flatten() for moment in moments]).norm() / (1 - 0.9)
    assert float(taken) == pytest.approx(0.01, rel=1e-3)


def test_groups_are_shared_out_over_all_updates(
    one: Small, problems: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[int] = []
    update = _Run._update

    def watched(self: _Run, paid: Any, old: Any, count: int, tokens_in: int) -> Any:
        shares.append(count)
        return update(self, paid, old, count, tokens_in)

    monkeypatch.setattr(_Run, "_update", watched)
    policy = Scripted(one, by_sample("AABB"))
    for updates, expected in ((3, [8, 4, 4]), (4, [4] * 4), (9, [4] * 4)):
        shares.clear()
        config = config_of(one, problems, tmp_path, problems_per_step=4, updates=updates)
        advance(_Run(config, lambda _: policy))
        assert shares == expected


def test_groups_without_variance_are_replaced_when_asked(
    one: Small, problems: str, tmp_path: Path
) -> None:
    def says(state: State) -> list[str]:
        level = state.problem.id in first
        return [answer("A" if level or state.sample else "B")]

    policy = Scripted(one, says)
    config = config_of(one, problems, tmp_path, problems_per_step=2, refill=1)
    run = _Run(config, lambda _: policy)
    first = {problem.id for problem in run.asked.step(0, 2, config.seed)}
    groups = run._groups()
    assert {g[0].problem.id for g in groups} & first == set()
    assert len(groups) == 2


def test_truncated_trajectories_teach_nothing_when_they_are_masked(
    one: Small, problems: str, tmp_path: Path
) -> None:
    policy = Scripted(one, by_sample("AABB"), cut=lambda state: state.sample == 3)
    for masked, rows_paid in ((False, 8), (True, 6)):
        config = config_of(one, problems, tmp_path / str(masked), mask_truncated=masked)
        run = _Run(config, lambda _: policy)
        groups = run._groups()
        rewards = torch.tensor([[row.score.total for row in group] for group in groups])
        assert len(run._paid(groups, rewards - 1.0)) == rows_paid


def test_token_level_normalisation_weighs_long_trajectories_more(
    one: Small, problems: str, tmp_path: Path
) -> None:
    def says(state: State) -> list[str]:
        thought = "I see. " * (1 if state.sample < 2 else 20)
        return [grammar.write(Answer(thought.strip(), "A" if state.sample % 2 else "B"))]

    policy = Scripted(one, says)
    norms = []
    for level in (False, True):
        config = config_of(one, problems, tmp_path / str(level), token_level=level, updates=1)
        norms.append(advance(_Run(config, lambda _: policy))["grad_norm"])
    assert norms[0] > 0
    assert norms[0] != pytest.approx(norms[1], rel=0.05)


def test_an_update_holds_the_pictures_of_one_micro_batch_at_a_time(
    one: Small, problems: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With those of all its trajectories, a step of the paper's size would fill a GPU with pixels."""
    made: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def watched(*given: Any) -> Batch:
        nonlocal most
        most = max(most, sum(pixels() is not None for pixels in made))
        micro = batch(*given)
        made.append(weakref.ref(micro.inputs["pixel_values"]))
        return micro

    monkeypatch.setattr(grpo, "batch", watched)
    policy = Scripted(one, by_sample("AABB"))
    advance(_Run(config_of(one, problems, tmp_path, micro_batch=1), lambda _: policy))
    assert len(made) == 8 + 4  # those of the second update once more, for their old numbers
    assert most <= 1


def test_numbers_of_tokens_are_means_over_the_tokens_that_teach(
    one: Small, problems: str, tmp_path: Path
) -> None:
    """An update that has none takes nothing from the mean, and where none has, there is no number."""
    level: set[str] = set()

    def says(state: State) -> list[str]:
        return [answer("A" if state.problem.id in level else "AABB"[state.sample])]

    policy, entropies = Scripted(one, says), []
    for updates in (1, 2):
        config = config_of(one, problems, tmp_path / str(updates), updates=updates)
        run = _Run(config, lambda _: policy)
        level = {run.asked.step(0, 2, config.seed)[0].id}
        entropies.append(advance(run)["entropy"])
    assert entropies[0] > 0
    assert entropies[1] == pytest.approx(entropies[0], rel=1e-5)
    level = {problem.id for problem in run.asked.step(0, 4, config.seed)}
    nothing = advance(_Run(config_of(one, problems, tmp_path / "none"), lambda _: policy))
    assert (nothing["entropy"], nothing["clip_fraction"]) == (None, None)
    assert (nothing["loss"], nothing["grad_norm"]) == (0, 0)


def test_a_run_writes_every_number_of_each_step_and_some_trajectories_to_look_at(
    one: Small, problems: str, tmp_path: Path
) -> None:
    policy = Scripted(one, by_sample("AABA"))
    config = config_of(one, problems, tmp_path, steps=2, keep=3)
    facts = train(config, lambda _: policy)
    told = lines(tmp_path)
    assert [line["step"] for line in told] == [1, 2]
    names = {
        "reward", "correct", "format", "draw", "solved", "stops", "paper", "strict", "helped",
        "boxes", "lines", "turns", "tokens", "zero_variance", "clip_fraction", "entropy", "loss",
        "grad_norm", "lr", "seconds", "seconds_rollout",
    }  # fmt: skip
    assert names <= set(told[0])
    assert told[0]["reward"] == pytest.approx(1.5)
    assert told[0]["stops"] == {"answered": 1.0}
    assert told[0]["entropy"] > 0
    shown = (tmp_path / "samples" / "000002.jsonl").read_text().splitlines()
    assert [json.loads(line)["stop"] for line in shown] == ["answered"] * 3
    assert facts["steps"] == 2
    assert json.loads((tmp_path / "done.json").read_text())["weights_sha256"]


def test_the_model_itself_samples_unless_another_policy_is_given(
    one: Small, problems: str, tmp_path: Path
) -> None:
    train(config_of(one, problems, tmp_path, steps=2, lora_rank=2))
    told = lines(tmp_path)
    assert [line["tokens"] for line in told] == [pytest.approx(8, abs=3)] * 2
    assert (tmp_path / "model" / "model.safetensors").exists()


def test_a_policy_that_does_not_keep_its_ids_is_refused(
    one: Small, problems: str, tmp_path: Path
) -> None:
    class Forgetful(Scripted):
        async def act(self, state: State) -> Turn:
            return replace(await super().act(state), ids=None)

    policy = Forgetful(one, by_sample("AABB"))
    with pytest.raises(ValueError, match="ids it was sampled as"):
        train(config_of(one, problems, tmp_path), lambda _: policy)


def test_a_group_of_one_is_refused(one: Small, problems: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="samples is 1; it must be 2 or more"):
        train(config_of(one, problems, tmp_path, samples=1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sampler": "vllms"}, "sampler is 'vllms'; there are local, vllm"),
        ({"sampler": "vllm", "lora_rank": 4}, "set lora_rank 0, or sampler local"),
        ({"importance_cap": 0.5}, "importance_cap is 0.5; it must be 1 or more"),
        ({"max_tokens": 0}, "max_tokens is 0; it must be 1 or more"),
        ({"temperature": 0.0}, "temperature is 0.0; it must be more than 0"),
    ],
)
def test_a_sampler_that_cannot_be_is_refused(
    one: Small, problems: str, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(TrainingError, match=said):
        train(config_of(one, problems, tmp_path, **changes))


def test_problems_that_could_not_be_asked_are_counted_through_a_kill(
    one: Small, problems: str, tmp_path: Path
) -> None:
    class Refusing(Scripted):
        async def act(self, state: State) -> Turn:
            if state.problem.id in refused:
                raise PolicyError("too long")
            return await super().act(state)

    def dying(step: int) -> Scripted:
        if step == 2:
            raise KeyboardInterrupt
        return refusing

    config = config_of(one, problems, tmp_path, steps=3, checkpoint_every=1)
    asked = Asked(config.data, one.name)
    refused = {asked.step(step, 2, config.seed)[0].id for step in range(2)}
    refusing, plain = Refusing(one, by_sample("AABB")), Scripted(one, by_sample("AABB"))
    with pytest.raises(KeyboardInterrupt):
        train(config, dying)
    assert train(config, lambda _: plain)["failed"] == 2


def test_when_no_problem_can_be_rolled_out_the_reason_is_the_one_that_was_told(
    one: Small, problems: str, tmp_path: Path
) -> None:
    class Down(Scripted):
        async def act(self, state: State) -> Turn:
            raise PolicyError("the engine is down")

    policy = Down(one, by_sample("AABB"))
    with pytest.raises(TrainingError, match="the engine is down"):
        train(config_of(one, problems, tmp_path), lambda _: policy)


def test_a_gpu_that_is_too_small_is_one_line_with_a_remedy(
    one: Small,
    problems: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nMore of it.")

    monkeypatch.setattr(_Run, "_groups", full)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(asdict(config_of(one, problems, tmp_path / "run"))))
    with pytest.raises(SystemExit) as ended:
        grpo.main([str(path)])
    assert ended.value.code == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("grpo: CUDA out of memory. Tried to allocate 9 GiB.")
    assert "micro_batch 1" in last
    assert "a smaller in_flight in another folder" in last


def test_a_sampler_that_is_not_installed_is_refused_before_anything_is_loaded(
    one: Small, problems: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpo_config, "find_spec", lambda _: None)
    with pytest.raises(TrainingError, match="vLLM is not here: pip install"):
        train(config_of(one, problems, tmp_path, sampler="vllm"))


def test_problems_for_another_family_are_refused(one: Small, tmp_path: Path) -> None:
    other = rl_export(tmp_path, one, 2, family="qwen3-vl")
    with pytest.raises(WrongData, match=r"written for qwen3-vl, the model is of qwen2\.5-vl"):
        train(config_of(one, other, tmp_path / "out"))


def test_problems_whose_pictures_are_not_on_the_grid_are_refused_by_file(
    one: Small, tmp_path: Path
) -> None:
    off = rl_export(tmp_path, one, 1, sizes=[{"width": 30, "height": 28}])
    said = rf"{off}/train-00000.parquet: image-0 has a picture of 30 × 28 px.* patches of 28 px"
    with pytest.raises(WrongData, match=said):
        train(config_of(one, off, tmp_path / "out"))


def test_problems_whose_pictures_are_none_are_refused_by_file(one: Small, tmp_path: Path) -> None:
    broken = rl_export(tmp_path, one, 1, images=[{"bytes": b"no picture", "path": None}])
    with pytest.raises(WrongData, match=r"train-00000.parquet: image-0 cannot be read"):
        train(config_of(one, broken, tmp_path / "out"))


def test_samples_that_a_full_disk_cannot_hold_are_named(
    one: Small, problems: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run" / "samples").mkdir(parents=True)
    (tmp_path / "run" / "samples" / f"000001.jsonl.{os.getpid()}").symlink_to("/dev/full")
    policy = Scripted(one, by_sample("AABB"))
    said = r"samples/000001.jsonl could not be written: .* No space left on device.* Make room"
    with pytest.raises(TrainingError, match=said):
        train(config_of(one, problems, tmp_path / "run"), lambda _: policy)


def test_an_empty_set_is_refused_with_the_remedy(one: Small, tmp_path: Path) -> None:
    empty = rl_export(tmp_path, one, 0)
    with pytest.raises(WrongData, match="no rows to train on: loosen the filters"):
        train(config_of(one, empty, tmp_path / "out"))


def test_prompts_that_are_all_too_long_stop_the_run(
    one: Small, problems: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"the last: .* tokens, of 16 in all"):
        train(config_of(one, problems, tmp_path, max_context=16))


def test_the_context_of_a_rollout_is_counted_in_the_model_s_own_tokens(
    one: Small, problems: str, tmp_path: Path
) -> None:
    policy = Scripted(one, by_sample("AABB"))
    run = _Run(config_of(one, problems, tmp_path), lambda _: policy)
    row = run._groups()[0][0]
    count = tokens.counter(one.words)
    assert count(row.state, one.family, 4) == len(run._example(row).ids)


def test_a_run_that_samples_with_its_own_model_samples_the_same_after_it_was_ended(
    one: Small, problems: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dying(self: _Run, *given: Any) -> Any:
        if self.step == 2:
            raise KeyboardInterrupt
        return learn(self, *given)

    # A model that has learnt nothing is never right; it is to learn all the same.
    monkeypatch.setattr(grpo, "advantages", lambda rewards: torch.randn(rewards.shape))
    learn, config = _Run._learn, config_of(one, problems, tmp_path / "whole", steps=3)
    train(config)
    ended = replace(config, out=str(tmp_path / "ended"), checkpoint_every=1)
    with monkeypatch.context() as patch:
        patch.setattr(_Run, "_learn", dying)
        with pytest.raises(KeyboardInterrupt):
            train(ended)
    train(ended)
    whole, again = (
        [path.read_text() for path in sorted((tmp_path / name / "samples").iterdir())]
        for name in ("whole", "ended")
    )
    assert len(set(whole)) == 3
    assert whole == again
    hashes = {weights_sha256(tmp_path / run / "model") for run in ("whole", "ended")}
    assert len(hashes) == 1
    assert weights_sha256(one.folder) not in hashes


def run_scripted(path: str) -> None:
    """A run whose rewards vary, in a process of its own."""
    config = GrpoConfig(**json.loads(Path(path).read_text()))
    processor = models.load_processor(config.model)
    words = tokens.vocabulary(processor)
    small = Small("qwen2.5-vl", Path(config.model), processor, words, FAMILIES["qwen2.5-vl"])
    train(config, lambda step: Scripted(small, by_sample("AB" if step % 2 else "BA")))


def test_a_run_that_is_killed_goes_on_as_if_it_had_not_been(
    one: Small, problems: str, tmp_path: Path
) -> None:
    def start(out: Path) -> subprocess.Popen[bytes]:
        path = tmp_path / f"{out.name}.json"
        config = config_of(one, problems, out, steps=6, checkpoint_every=2, samples=2)
        path.write_text(json.dumps(config.__dict__))
        code = f"from tests.trainers.test_grpo import run_scripted; run_scripted({str(path)!r})"
        return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait(200) == 0
    killed = start(tmp_path / "killed")
    while not (tmp_path / "killed" / "checkpoints" / "000002").exists():
        time.sleep(0.02)
        assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "done.json").exists()
    assert start(tmp_path / "killed").wait(200) == 0
    timeless = [
        [
            {name: value for name, value in line.items() if not name.startswith("seconds")}
            for line in lines(tmp_path / run)
        ]
        for run in ("whole", "killed")
    ]
    assert timeless[0] == timeless[1]
    assert all(line["grad_norm"] > 0 for line in timeless[0])
    hashes = {weights_sha256(tmp_path / run / "model") for run in ("whole", "killed")}
    assert len(hashes) == 1
    assert weights_sha256(one.folder) not in hashes
