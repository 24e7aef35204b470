"""Log-probabilities, losses and advantages: pure functions of tensors.

Shapes: B trajectories, T tokens, M tokens that a model wrote, H features, V vocabulary, P problems,
G samples of each (a group).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK = 2048  # tokens whose logits exist at once: 1.2 GB in float32 at a vocabulary of 150,000
EPSILON = 1e-6  # of the advantage's denominator


def token_logprobs(
    hidden: Tensor,
    head: Callable[[Tensor], Tensor],
    targets: Tensor,
    forbidden: tuple[int, ...] = (),
    temperature: float = 1.0,
    chunk: int = CHUNK,
    *,
    entropies: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Log-probability of each target, and the entropy of the distribution that it was drawn from.

    Logits exist for ``chunk`` tokens at a time and are made again for the backward pass, so that
    memory does not grow with M × V.

    Args:
        hidden: (M, H), the features from which each target is predicted.
        head: (m, H) → (m, V).
        targets: (M,) ids.
        forbidden: ids that are never sampled: they have no probability.

    Returns:
        (M,) log-probabilities, with gradient; (M,) entropies, without, if asked for. Both float32.
    """

    def part(features: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor | None]:
        logits = head(features).float()
        if forbidden:
            logits = logits.index_fill(
                -1, torch.tensor(forbidden, device=logits.device), float("-inf")
            )
        if temperature != 1.0:
            logits = logits / temperature
        normaliser = logits.logsumexp(-1)
        chosen = logits.gather(-1, wanted[:, None])[:, 0] - normaliser
        if not entropies:
            return chosen, None
        with torch.no_grad():
            shares = (logits - normaliser[:, None]).exp()
            entropy = normaliser - (shares * logits.nan_to_num(neginf=0.0)).sum(-1)
        return chosen, entropy

    if len(targets) <= chunk:
        return part(hidden, targets)
    parts = [
        checkpoint(part, h, t, use_reentrant=False)
        for h, t in zip(torch.split(hidden, chunk), torch.split(targets, chunk), strict=True)
    ]
    entropy = torch.cat([p[1] for p in parts]) if entropies else None
    return torch.cat([p[0] for p in parts]), entropy


def sft_loss(logprobs: Tensor, mask: Tensor, rows: int) -> Tensor:
    """SFT's loss: the mean over trajectories of −(1/N) Σ_t log p, N the row's own model tokens.

    Args:
        logprobs: (B, T), of each token given all before it.
        mask: (B, T), true on model tokens.
        rows: trajectories of the whole update, of which these B are a part: parts add up. A row
            without model tokens, which fills up a batch, adds nothing.
    """
    return -((logprobs * mask).sum(1) / mask.sum(1).clamp(min=1)).sum() / rows


def advantages(rewards: Tensor) -> Tensor:
    """(P, G) rewards → (P, G): (S − mean) / (std + 1e-6) within each group, std with n − 1.

    All zero where a group does not vary; a group of one cannot.
    """
    if rewards.shape[1] < 2:
        return torch.zeros_like(rewards)
    centred = rewards - rewards.mean(1, keepdim=True)
    # exactly, not by rounding: the mean of equal numbers may differ from them by one bit
    centred = centred.masked_fill((rewards == rewards[:, :1]).all(1, keepdim=True), 0.0)
    return centred / (rewards.std(1, keepdim=True) + EPSILON)


@dataclass(frozen=True, slots=True)
class Clip:
    """How far ρ may go below and above 1 and still be paid for (ε_low, ε_high)."""

    low: float = 0.2
    high: float = 0.3


def importance(old: Tensor, sampled: Tensor, mask: Tensor, cap: float) -> tuple[Tensor, Tensor]:
    """Truncated importance weights min(π_trainer / π_sampler, cap), where another engine sampled.

    Args:
        old, sampled: (B, T) log-probabilities of the sampled ids before the step's first update, by
            the trainer and as the sampler gave them.
        mask: (B, T), true on model tokens.

    Returns:
        (B, T) weights without gradient, 1 off the mask; and how many were truncated.
    """
    ratio = ((old - sampled) * mask).detach().exp()
    return ratio.clamp(max=cap).where(mask, 1.0), ((ratio > cap) & mask).sum()


def grpo_loss(
    logprobs: Tensor,
    old: Tensor,
    mask: Tensor,
    advantage: Tensor,
    clip: Clip,
    *,
    rows: int,
    tokens: int | None = None,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """GRPO's loss without KL: −(1/rows) Σ_i (1/N_i) Σ_t min(ρ A, clip(ρ, 1 − low, 1 + high) A).

    Args:
        logprobs, old: (B, T), of the sampled ids under the model now and before the step's first
            update; ``old`` carries no gradient.
        mask: (B, T), true on model tokens.
        advantage: (B,)
        rows: trajectories of the whole update, masked ones included.
        tokens: model tokens of the whole update, for token-level normalisation instead: every
            token then weighs the same.
        weights: (B, T), of `importance`: each token's term is multiplied by its own.

    Returns:
        the loss, and how many model tokens were clipped (their gradient is zero).
    """
    ratio = ((logprobs - old) * mask).exp()
    paid = advantage[:, None]
    plain, clipped = ratio * paid, ratio.clamp(1 - clip.low, 1 + clip.high) * paid
    gain = torch.minimum(plain, clipped) * mask
    if weights is not None:
        gain = gain * weights
    count = ((clipped < plain) & mask).sum()
    if tokens is not None:
        return -gain.sum() / tokens, count
    return -(gain.sum(1) / mask.sum(1).clamp(min=1)).sum() / rows, count
