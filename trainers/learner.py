"""A model under training: its weights, their optimizer, and how both are kept and found again."""

import math
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedType,
    GradientAccumulationPlugin,
    InitProcessGroupKwargs,
    broadcast_object_list,
)

from pipeline import models, tokens
from pipeline.protocol import FAMILIES
from trainers import checkpoint, sharding
from trainers.checkpoint import TrainingError
from trainers.model import Scorer, Tuning, tuned, whole

ATTENTIONS = ("sdpa", "flash_attention_2", "flash_attention_3", "eager")
PATIENCE = timedelta(hours=2)  # of processes, while one writes a checkpoint of 90 GB to a slow disk


def too_small(error: torch.OutOfMemoryError) -> str:
    """What to say of a GPU that is full: torch's first line, and what helps."""
    told = str(error).splitlines()[0]
    return (
        f"{told} Try micro_batch 1 or gradient_checkpointing and go on, or in GRPO a smaller in_flight "
        f"in another folder"
    )


@dataclass(frozen=True, slots=True)
class Rate:
    """The learning rate over a run: linear warm-up, then level, or down to zero by a cosine."""

    peak: float
    warmup: float  # of all updates
    decay: bool

    def at(self, step: int, steps: int) -> float:
        """Of update ``step``, counted from 0, of ``steps``; never above the peak."""
        warm = self.warmup * steps
        if step < warm:
            return self.peak * min(1.0, (step + 1) / max(1.0, warm))
        if not self.decay:
            return self.peak
        passed = (step - warm) / max(1.0, steps - warm)
        return self.peak * 0.5 * (1 + math.cos(math.pi * passed))


def _refuse_launch(accelerator: Accelerator, tuning: Tuning, sharded: bool) -> None:
    """Raises `TrainingError` where this was started in a way that it cannot train in."""
    if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise TrainingError(
            "accelerate is set up for FSDP or DeepSpeed: start it with plain processes, and set "
            "shard to spread a model over them"
        )
    if sharded and (tuning.lora_rank or accelerator.num_processes < 2):
        raise TrainingError(
            "shard spreads whole weights over several processes: set lora_rank 0, and start it "
            "with torchrun"
        )


class Learner:
    """A checkpoint that learns.

    Args:
        attention: as transformers calls it: sdpa, flash_attention_2, …
        sharded: spreads weights, gradients and moments over the processes; else each has them all.

    Raises:
        GridMismatch: if its processor and its family disagree on the pixel grid.
        OSError: if there is no whole checkpoint.
        TrainingError: if it cannot be sharded, or there is no such attention.
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
        attention: str,
        *,
        sharded: bool = False,
    ) -> None:
        if attention not in ATTENTIONS:
            raise TrainingError(f"attention is {attention!r}; there are {', '.join(ATTENTIONS)}")
        torch.manual_seed(seed)
        bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        self.model = model
        self.accelerator = Accelerator(
            mixed_precision="bf16" if bf16 else "no",
            # Accumulated here; said so, or a setting of the launcher's would divide the gradients again.
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        self.sharded = sharded
        _refuse_launch(self.accelerator, tuning, sharded)
        self.processor = models.load_processor(model, revision)
        loaded = models.load_model(model, revision, attention=attention)
        self.family_name = models.family_name(loaded.config.model_type)
        self.family = FAMILIES[self.family_name]
        models.check_grid(self.processor, self.family)
        self.words = tokens.vocabulary(self.processor)
        self.origin = models.fingerprint(model) if self.accelerator.is_main_process else ""
        self.rate = rate
        scorer = Scorer(tuned(loaded, tuning))
        if sharded:
            sharding.shard(scorer)
        adam = torch.optim.AdamW(
            [p for p in scorer.parameters() if p.requires_grad],
            lr=rate.peak,
            betas=betas,
            weight_decay=weight_decay,
            fused=True,
        )
        if sharded:  # nothing is put around it: it adds up gradients by itself
            self.scorer = self.accelerator.prepare_model(scorer, evaluation_mode=True)
            self.optimizer = self.accelerator.prepare_optimizer(adam)
        else:
            self.scorer, self.optimizer = self.accelerator.prepare(scorer, adam)

    @property
    def bare(self) -> Scorer:
        """The scorer without what `accelerate` wraps around it."""
        return self.accelerator.unwrap_model(self.scorer)  # type: ignore[no-any-return]

    def resume(self, out: Path) -> tuple[int, dict[str, Any]]:
        """Takes up the newest whole checkpoint: how many updates have been made, and its facts."""
        if self.sharded:
            return self._resume_sharded(out)
        kept = checkpoint.newest(out)
        if kept is None:
            return 0, {}
        tensors, facts = kept
        checkpoint.same_origin(out, facts, self.model, self.origin)
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

    def _resume_sharded(self, out: Path) -> tuple[int, dict[str, Any]]:
        """One process reads: what all would read at once may be more than a machine has memory for."""
        main = self.accelerator.is_main_process
        tensors, facts = (checkpoint.newest(out) if main else None) or ({}, {})
        (facts,) = broadcast_object_list([facts])
        if not facts:
            return 0, {}
        checkpoint.same_origin(out, facts, self.model, self.origin)
        sharding.spread(self.bare, self.optimizer.optimizer, tensors)
        return int(facts["step"]), facts

    def keep(self, out: Path, step: int, facts: dict[str, Any]) -> None:
        """Writes a checkpoint, once for all processes."""
        if self.sharded:
            tensors = sharding.gathered(self.bare, self.optimizer.optimizer)
        else:
            named = self.bare.named_parameters()
            trained = {name: p.detach() for name, p in named if p.requires_grad}
            tensors = {"trained": trained, "optimizer": self.optimizer.state_dict()}
        if self.accelerator.is_main_process:
            told = {**facts, checkpoint.ORIGIN: self.origin}
            checkpoint.write(out, step, {**tensors, "rng": torch.get_rng_state()}, told)
        self.accelerator.wait_for_everyone()

    def update(self, out: Path, step: int, lr: float, loss: float, max_norm: float) -> float:
        """One step of the optimizer over the gradients that have been added up; their norm.

        Raises:
            TrainingError: if the loss or the norm is no number; the weights stay as they were.
        """
        norm = float("nan")
        if math.isfinite(loss):
            shared = self.accelerator.clip_grad_norm_(self.scorer.parameters(), max_norm)
            norm = float(shared.full_tensor() if self.sharded else shared)
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
        weights = sharding.weights(self.bare) if self.sharded else None
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return {}
        told = {**facts, checkpoint.ORIGIN: self.origin}
        return checkpoint.finish(out, whole(self.bare.model), self.processor, told, weights)
