"""Losses and their gradients against torch's own, against naive loops, and against TRL."""

import json
import math
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.rollout import retrace
from pipeline.types import Modality
from tests.trainers.conftest import TURNS, Small, problem_of
from trainers.encode import batch, encode
from trainers.losses import Clip, advantages, grpo_loss, importance, sft_loss, token_logprobs
from trainers.model import Scorer

HIDDEN, VOCABULARY = 8, 23


def head_and_features(tokens: int, seed: int = 0) -> tuple[torch.nn.Linear, Tensor, Tensor]:
    torch.manual_seed(seed)
    head = torch.nn.Linear(HIDDEN, VOCABULARY)
    return head, torch.randn(tokens, HIDDEN), torch.randint(0, VOCABULARY, (tokens,))


def gradients(
    head: torch.nn.Linear, features: Tensor, loss: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    head.zero_grad()
    features = features.clone().requires_grad_()
    loss(features).backward()
    return [features.grad, head.weight.grad.clone(), head.bias.grad.clone()]  # type: ignore[list-item,union-attr]


# Log-probabilities -------------------------------------------------------------------------------


def test_log_probabilities_are_torchs_own_cross_entropy() -> None:
    head, features, targets = head_and_features(11)
    mine, entropies = token_logprobs(features, head, targets)
    theirs = torch.nn.functional.cross_entropy(head(features), targets, reduction="none")
    assert entropies is None
    torch.testing.assert_close(mine, -theirs)


@pytest.mark.parametrize("chunk", [1, 4, 10, 11, 12])
def test_chunks_change_neither_numbers_nor_gradients(chunk: int) -> None:
    head, features, targets = head_and_features(11)
    weights = torch.randn(11)

    def loss(features: Tensor, chunk: int) -> Tensor:
        mine, _ = token_logprobs(features, head, targets, (3,), 0.7, chunk, entropies=True)
        return (mine * weights).sum()

    whole = gradients(head, features, lambda h: loss(h, 100))
    parts = gradients(head, features, lambda h: loss(h, chunk))
    torch.testing.assert_close(loss(features, chunk), loss(features, 100))
    for part, one in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, one)
    _, entropies = token_logprobs(features, head, targets, chunk=chunk, entropies=True)
    torch.testing.assert_close(
        entropies, token_logprobs(features, head, targets, entropies=True)[1]
    )


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_forbidden_ids_have_no_probability_and_the_rest_is_a_distribution(
    temperature: float,
) -> None:
    head, features, _ = head_and_features(1)
    everything = torch.arange(VOCABULARY)
    mine, entropy = token_logprobs(
        features.expand(VOCABULARY, -1), head, everything, (0, 5), temperature, entropies=True
    )
    assert mine[[0, 5]].tolist() == [-math.inf, -math.inf]
    assert math.isclose(float(mine.detach().exp().sum()), 1.0, rel_tol=1e-6)
    logits = head(features)[0] / temperature
    allowed = [i for i in range(VOCABULARY) if i not in (0, 5)]
    theirs = torch.distributions.Categorical(logits=logits[allowed])
    torch.testing.assert_close(mine[allowed], theirs.logits)
    torch.testing.assert_close(entropy, theirs.entropy().expand(VOCABULARY))


def test_forbidden_ids_get_no_gradient() -> None:
    head, features, targets = head_and_features(6)
    targets = targets.where(targets != 5, 4)
    _, weight, bias = gradients(
        head, features, lambda h: token_logprobs(h, head, targets, (5,))[0].sum()
    )
    assert not weight[5].any()
    assert not bias[5].any()
    assert weight[4].any()


def test_entropies_are_torchs_own_and_carry_no_gradient() -> None:
    head, features, targets = head_and_features(7)
    _, entropies = token_logprobs(features, head, targets, entropies=True)
    theirs = torch.distributions.Categorical(logits=head(features)).entropy()
    assert entropies is not None
    torch.testing.assert_close(entropies, theirs.detach())
    assert not entropies.requires_grad


def test_no_tokens_have_no_log_probabilities_and_no_gradient() -> None:
    head, _, _ = head_and_features(1)
    nothing, none = torch.empty(0, HIDDEN), torch.empty(0, dtype=torch.long)
    for grad in gradients(head, nothing, lambda h: token_logprobs(h, head, none)[0].sum()):
        assert not grad.any()


# SFT ---------------------------------------------------------------------------------------------


def test_the_sft_loss_of_three_tokens_worked_out_by_hand() -> None:
    """Row one: ln 2 and ln 4, mean 1.5 ln 2. Row two: ln 8 = 3 ln 2. Mean of both: 2.25 ln 2."""
    logprobs = torch.tensor([[0.5, 0.25, 0.9], [0.9, 0.125, 0.9]]).log()
    mask = torch.tensor([[True, True, False], [False, True, False]])
    loss = sft_loss(logprobs, mask, rows=2)
    assert math.isclose(float(loss), 2.25 * math.log(2), rel_tol=1e-6)


def test_the_sft_loss_is_the_mean_of_each_rows_own_cross_entropy() -> None:
    torch.manual_seed(1)
    logits = torch.randn(4, 9, VOCABULARY, dtype=torch.double, requires_grad=True)
    targets, mask = torch.randint(0, VOCABULARY, (4, 9)), torch.rand(4, 9) < 0.5
    mine = sft_loss(logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0], mask, rows=4)
    rows = [
        torch.nn.functional.cross_entropy(logits[n][mask[n]], targets[n][mask[n]]) for n in range(4)
    ]
    theirs = torch.stack(rows).mean()
    torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(mine, logits)[0], torch.autograd.grad(theirs, logits)[0]
    )


def test_parts_of_an_update_add_up_and_a_row_without_tokens_adds_nothing() -> None:
    torch.manual_seed(2)
    logprobs, mask = torch.randn(5, 6), torch.rand(5, 6) < 0.6
    whole = sft_loss(logprobs, mask, rows=5)
    parts = sft_loss(logprobs[:2], mask[:2], rows=5) + sft_loss(logprobs[2:], mask[2:], rows=5)
    torch.testing.assert_close(parts, whole)
    filled = torch.cat([mask, torch.zeros(1, 6, dtype=torch.bool)])
    same = sft_loss(torch.cat([logprobs, torch.randn(1, 6)]), filled, rows=5)
    torch.testing.assert_close(same, whole)


# GRPO --------------------------------------------------------------------------------------------


def test_advantages_are_those_of_a_naive_loop() -> None:
    torch.manual_seed(3)
    rewards = torch.rand(6, 8, dtype=torch.double)
    mine = advantages(rewards)
    for group, values in zip(rewards.tolist(), mine.tolist(), strict=True):
        mean, spread = statistics.mean(group), statistics.stdev(group)
        assert values == pytest.approx([(r - mean) / (spread + 1e-6) for r in group], rel=1e-12)


@pytest.mark.parametrize("reward", [0.0, 0.1, 0.7, 1.9, 1 / 3, 2.0])
@pytest.mark.parametrize("samples", [1, 3, 7, 8])
def test_a_group_of_equal_rewards_has_no_advantage_at_all(reward: float, samples: int) -> None:
    assert advantages(torch.full((2, samples), reward)).eq(0).all()


def test_a_group_of_equal_rewards_has_exactly_no_gradient() -> None:
    logprobs, old, mask, _ = sampled_tokens()
    logprobs.requires_grad_()
    advantage = advantages(torch.full((1, len(mask)), 0.7))[0]
    loss, _ = grpo_loss(logprobs, old, mask, advantage, Clip(), rows=len(mask))
    loss.backward()
    assert logprobs.grad is not None
    assert logprobs.grad.eq(0).all()


def sampled_tokens() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ratios on both sides of both clips, for advantages of both signs; one row without tokens."""
    torch.manual_seed(4)
    old = -3 * torch.rand(6, 9, dtype=torch.double)
    logprobs = old + 0.5 * torch.randn(6, 9, dtype=torch.double)
    mask = torch.rand(6, 9) < 0.7
    mask[5] = False
    advantage = torch.tensor([1.0, -1.0, 0.5, -2.0, 0.0, 1.0], dtype=torch.double)
    return logprobs, old, mask, advantage


def naive(
    logprobs: Tensor, old: Tensor, mask: Tensor, advantage: Tensor, clip: Clip, tokens: int | None
) -> tuple[float, list[list[float]], int]:
    """GRPO's formula with loops: loss, its gradient by hand, clipped tokens."""
    rows, width = mask.shape
    loss, grads, clipped = 0.0, [[0.0] * width for _ in range(rows)], 0
    for i in range(rows):
        own = int(mask[i].sum())
        for t in range(width):
            if not mask[i, t]:
                continue
            ratio, paid = math.exp(logprobs[i, t] - old[i, t]), float(advantage[i])
            kept = min(max(ratio, 1 - clip.low), 1 + clip.high)
            weight = 1 / (rows * own) if tokens is None else 1 / tokens
            loss -= weight * min(ratio * paid, kept * paid)
            if kept * paid < ratio * paid:
                clipped += 1
            else:
                grads[i][t] = -weight * ratio * paid  # dρ/dlogp is ρ
    return loss, grads, clipped


@pytest.mark.parametrize("clip", [Clip(), Clip(0.1, 0.1), Clip(0.9, 5.0)])
@pytest.mark.parametrize("by_token", [False, True])
def test_the_grpo_loss_and_its_gradient_are_those_of_a_naive_loop(
    clip: Clip, by_token: bool
) -> None:
    logprobs, old, mask, advantage = sampled_tokens()
    tokens = int(mask.sum()) if by_token else None
    logprobs.requires_grad_()
    loss, clipped = grpo_loss(logprobs, old, mask, advantage, clip, rows=6, tokens=tokens)
    (grad,) = torch.autograd.grad(loss, logprobs)
    expected, grads, count = naive(logprobs.detach(), old, mask, advantage, clip, tokens)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(grad, torch.tensor(grads, dtype=torch.double))
    assert int(clipped) == count
    assert count > 0 or clip.high == 5.0


def test_importance_weights_are_those_of_a_naive_loop_and_multiply_each_tokens_term() -> None:
    logprobs, old, mask, advantage = sampled_tokens()
    said = old + 0.8 * torch.randn(old.shape, dtype=torch.double)  # as another engine gave them
    cap = 1.5
    weights, cut = importance(old.clone().requires_grad_(), said, mask, cap)
    assert not weights.requires_grad
    loss, _ = grpo_loss(logprobs, old, mask, advantage, Clip(), rows=6, weights=weights)
    expected, truncated = 0.0, 0
    for i in range(6):
        for t in range(9):
            if not mask[i, t]:
                assert float(weights[i, t]) == 1.0
                continue
            apart = math.exp(old[i, t] - said[i, t])
            truncated += apart > cap
            ratio, paid = math.exp(logprobs[i, t] - old[i, t]), float(advantage[i])
            gain = min(ratio * paid, min(max(ratio, 0.8), 1.3) * paid)
            expected -= min(apart, cap) * gain / (6 * int(mask[i].sum()))
    assert float(loss) == pytest.approx(expected, rel=1e-12)
    assert int(cut) == truncated > 0


def test_a_sampler_that_agrees_with_the_trainer_changes_nothing() -> None:
    logprobs, old, mask, advantage = sampled_tokens()
    weights, cut = importance(old, old.clone(), mask, cap=2.0)
    plain, _ = grpo_loss(logprobs, old, mask, advantage, Clip(), rows=6)
    weighed, _ = grpo_loss(logprobs, old, mask, advantage, Clip(), rows=6, weights=weights)
    assert (float(weighed), int(cut)) == (float(plain), 0)


def test_parts_of_a_grpo_update_add_up() -> None:
    logprobs, old, mask, advantage = sampled_tokens()
    for tokens in (None, int(mask.sum())):
        whole, count = grpo_loss(logprobs, old, mask, advantage, Clip(), rows=6, tokens=tokens)
        parts = [
            grpo_loss(
                logprobs[some],
                old[some],
                mask[some],
                advantage[some],
                Clip(),
                rows=6,
                tokens=tokens,
            )
            for some in (slice(0, 1), slice(1, 4), slice(4, 6))
        ]
        torch.testing.assert_close(torch.stack([p[0] for p in parts]).sum(), whole)
        assert sum(int(p[1]) for p in parts) == int(count)


def test_loss_and_gradient_are_those_of_trl_on_a_turn_about_a_picture(small: Small) -> None:
    """TRL's own code computes both, on a light stand-in for its trainer; β = 0."""
    trl = pytest.importorskip("trl.trainer.grpo_trainer")
    # TRL cuts prompts from completions at one place: rows of one picture size have it there.
    problems = [problem_of(Modality.IMAGE, small.family, 3 * n) for n in range(3)]
    states = [
        retrace(p, _answered(p, small, word)) for p, word in zip(problems, "abc", strict=True)
    ]
    examples = [encode(s, small.words, small.family, TURNS, 4096, sampled=False) for s in states]
    made = batch(examples, small.words, small.processor)
    first = examples[0].spans[0][0]
    assert all(example.spans[0][0] == first for example in examples)

    model = small.load()
    torch.manual_seed(0)
    with torch.no_grad():
        now, _ = Scorer(model)(made.inputs, made.mask)
    old = torch.where(made.mask, now + 0.3 * torch.randn_like(now), 0.0)
    advantage = torch.tensor([1.2, -0.7, -0.5])

    ids, mask = made.inputs["input_ids"], made.inputs["attention_mask"]
    given = {
        "prompt_ids": ids[:, :first],
        "prompt_mask": mask[:, :first],
        "completion_ids": ids[:, first:],
        "completion_mask": made.mask[:, first:].long(),
        "advantages": advantage,
        "old_per_token_logps": old[:, first:],
        "num_images": [1] * 3,
        **{k: made.inputs[k] for k in ("pixel_values", "image_grid_thw", "mm_token_type_ids")},
    }
    patched = small.load()
    trl.add_fused_lm_head(patched, temperature=1.0, outputs=("log_probs", "entropy"))
    theirs = trl.GRPOTrainer._compute_loss(stand_in(trl.GRPOTrainer, patched), patched, given)
    wanted = _grads(patched, theirs)
    logprobs, _ = Scorer(model)(made.inputs, made.mask)
    mine, clipped = grpo_loss(logprobs, old, made.mask, advantage, Clip(0.2, 0.3), rows=3)
    assert int(clipped) > 0
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)
    for name, grad in _grads(model, mine).items():
        torch.testing.assert_close(grad, wanted[name], rtol=1e-4, atol=1e-7, msg=name)


def stand_in(trainer: Any, model: Any) -> Any:
    """What TRL's loss reads of its trainer, for GRPO as it is done here."""
    alone = SimpleNamespace(
        is_main_process=True,
        reduce=lambda t, **_: t,
        gather=lambda t: t,
        autocast=nullcontext,
    )
    self = SimpleNamespace(
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False),
        model=model,
        accelerator=alone,
        beta=0.0,
        epsilon_low=0.2,
        epsilon_high=0.3,
        loss_type="grpo",
        importance_sampling_level="token",
        temperature=1.0,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        aux_loss_enabled=False,
        use_vllm=False,
        current_gradient_accumulation_steps=1,
        model_kwarg_keys={"logits_to_keep"},
        _entropy_bonus_enabled=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
    )
    self._get_per_token_logps_and_entropies = lambda *a, **k: (
        trainer._get_per_token_logps_and_entropies(self, *a, **k)
    )
    return self


def _answered(problem: Any, small: Small, word: str) -> Any:
    from pipeline.grammar import write
    from pipeline.types import Answer, Stop, Trajectory, Turn

    said = Answer(f"So {word * ord(word)} it is.", "A")
    return Trajectory(problem.id, 0, (Turn(write(said), said),), Stop.ANSWERED)


def _grads(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


# Memory ------------------------------------------------------------------------------------------

LARGE = """
import json, resource, torch
from trainers.losses import sft_loss, token_logprobs
torch.set_num_threads(1)
torch.manual_seed(0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tokens, vocabulary = 16_384, 150_000
head = torch.nn.Linear(16, vocabulary, bias=False)
features = torch.randn(tokens, 16, requires_grad=True)
targets = torch.randint(0, vocabulary, (tokens,))
logprobs, _ = token_logprobs(features, head, targets)
loss = sft_loss(logprobs[None], torch.ones(1, tokens, dtype=torch.bool), rows=1)
loss.backward()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"loss": float(loss), "before": before, "peak": peak}))
"""


@pytest.mark.slow
def test_sixteen_thousand_tokens_of_a_large_vocabulary_fit_on_a_24_gb_card() -> None:
    """Whole, their logits in float32 alone would take 9.8 GB, and as much again for the gradient."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", LARGE], capture_output=True, text=True, check=True, cwd=root
    )
    told = json.loads(done.stdout)
    print(told)
    assert math.isfinite(told["loss"])
    assert told["peak"] < 8 * 2**20  # KiB
