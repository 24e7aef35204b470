"""A model under training: its weights, their optimizer, and how both are kept and found again."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from pipeline import models, tokens
from pipeline.protocol import FAMILIES
from trainers import checkpoint
from trainers.checkpoint import TrainingError
from trainers.model import Scorer, Tuning, tuned, whole


def too_small(error: torch.OutOfMemoryError) -> str:
    """What to say of a GPU that is full: torch's first line, and what helps."""
    told = str(error).splitlines()[0]
    return f"{told} Try micro_batch 1, gradient_checkpointing, or in GRPO a smaller in_flight"


@dataclass(frozen=True, slots=True)
class Rate:
    """The learning rate over a run: linear warm-up, then level, or down to zero by a cosine."""

    peak: float
    warmup: float  # of all updates
    decay: bool

    def at(self, step: int, steps: int) -> float:
        """Of update ``step``, counted from 0, of ``steps``."""
        warm = self.warmup * steps
        if step < warm:
            return self.peak * (step + 1) / max(1.0, warm)
        if not self.decay:
            return self.peak
        passed = (step - warm) / max(1.0, steps - warm)
        return self.peak * 0.5 * (1 + math.cos(math.pi * passed))


class Learner:
    """A checkpoint that learns.

    Raises:
        GridMismatch: if its processor and its family disagree on the pixel grid.
        OSError: if there is no whole checkpoint.
    """

    def __init__(
        self,
        model: str,
        revision: str | None,
        tuning: Tuning,
        rate: Rate,
        betas: tuple[float, float],
        weight_decay: float,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        self.accelerator = Accelerator(mixed_precision="bf16" if bf16 else "no")
        self.processor = models.load_processor(model, revision)
        loaded = models.load_model(model, revision)
        self.family_name = models.family_name(loaded.config.model_type)
        self.family = FAMILIES[self.family_name]
        models.check_grid(self.processor, self.family)
        self.words = tokens.vocabulary(self.processor)
        self.rate = rate
        scorer = Scorer(tuned(loaded, tuning))
        adam = torch.optim.AdamW(
            [p for p in scorer.parameters() if p.requires_grad],
            lr=rate.peak,
            betas=betas,
            weight_decay=weight_decay,
            fused=True,
        )
        self.scorer, self.optimizer = self.accelerator.prepare(scorer, adam)

    @property
    def bare(self) -> Scorer:
        """The scorer without what `accelerate` wraps around it."""
        return self.accelerator.unwrap_model(self.scorer)  # type: ignore[no-any-return]

    def resume(self, out: Path) -> tuple[int, dict[str, Any]]:
        """Takes up the newest whole checkpoint: how many updates have been made, and its facts."""
        kept = checkpoint.newest(out)
        if kept is None:
            return 0, {}
        tensors, facts = kept
        found = self.bare.load_state_dict(
            tensors["trained"], strict=False
        )  # frozen ones are not kept
        if found.unexpected_keys:
            raise TrainingError(
                f"{out} holds checkpoints of another model ({found.unexpected_keys[0]}): delete it"
            )
        self.optimizer.load_state_dict(tensors["optimizer"])
        torch.set_rng_state(tensors["rng"])
        return int(facts["step"]), facts

    def keep(self, out: Path, step: int, facts: dict[str, Any]) -> None:
        """Writes a checkpoint, once for all processes."""
        if self.accelerator.is_main_process:
            named = self.bare.named_parameters()
            tensors = {
                "trained": {name: p.detach() for name, p in named if p.requires_grad},
                "optimizer": self.optimizer.state_dict(),
                "rng": torch.get_rng_state(),
            }
            checkpoint.write(out, step, tensors, facts)
        self.accelerator.wait_for_everyone()

    def update(self, out: Path, step: int, lr: float, loss: float, max_norm: float) -> float:
        """One step of the optimizer over the gradients that have been added up; their norm.

        Raises:
            TrainingError: if the loss or the norm is no number; the weights stay as they were.
        """
        norm = float("nan")
        if math.isfinite(loss):
            norm = float(self.accelerator.clip_grad_norm_(self.scorer.parameters(), max_norm))
        if not math.isfinite(norm):
            kept = checkpoint.steps(out)
            good = f"the checkpoint of step {kept[-1]} is good" if kept else "no checkpoint yet"
            raise TrainingError(
                f"{out}: in update {step + 1} the loss is {loss}, the norm of its gradient {norm}; "
                f"{good}. Lower the learning rate, or look at the rows of that update"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm

    def finish(self, out: Path, facts: dict[str, Any]) -> dict[str, Any]:
        """Writes the finished model; what there is to say of it, in the main process."""
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return {}
        return checkpoint.finish(out, whole(self.bare.model), self.processor, facts)
