"""Supervised fine-tuning on exported trajectories: cold, reflective, and drawing skills.

The loss is the mean over trajectories of each one's mean token loss, on model tokens only.
Accumulation is exact: an update is the same whatever the micro-batches and however many processes.

    python -m trainers.sft --model CHECKPOINT --data EXPORT [EXPORT …] --out FOLDER
    accelerate launch -m trainers.sft …
"""

import math
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline import models
from trainers import checkpoint
from trainers.checkpoint import TrainingError
from trainers.configure import check, configure
from trainers.encode import Batch, Example, batch, encode
from trainers.exported import WrongData
from trainers.feed import Feed, Ref
from trainers.learner import Learner, Rate, too_small
from trainers.losses import sft_loss
from trainers.model import Tuning
from trainers.record import Record, tell_dagster

AHEAD = 2  # updates whose rows are drawn while the model is busy
LEAST = {"batch": 1, "micro_batch": 1, "validate_every": 1, "checkpoint_every": 1, "steps": 0}


@dataclass(frozen=True)
class SftConfig:
    """A run. The defaults are the paper's settings for a model of 7 billion parameters, but for
    what is frozen there: the vision tower and the projector."""

    model: str  # a checkpoint, by path or name
    data: list[str]  # folders of exports
    out: str
    revision: str | None = None
    epochs: float = 3.0
    steps: int = 0  # updates; 0: as many as the epochs have
    batch: int = 32  # trajectories an update
    micro_batch: int = 4  # trajectories a forward pass and process
    lr: float = 1e-5
    warmup: float = 0.1  # of all updates
    decay: bool = True  # to zero, by a cosine
    beta2: float = 0.999
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    max_tokens: int = 32_768  # of a trajectory; longer ones are refused and named
    freeze_vision: bool = False
    freeze_projector: bool = False
    lora_rank: int = 0  # 0: all weights are trained
    lora_alpha: int = 32
    gradient_checkpointing: bool = False
    attention: str = "sdpa"  # as transformers calls it; or flash_attention_2, where it is installed
    shard: bool = False  # weights, gradients and moments are spread over the processes
    validation_share: float = 0.0  # of the problems
    validate_every: int = 100  # updates
    checkpoint_every: int = 200  # updates
    seed: int = 0

    @property
    def tuning(self) -> Tuning:
        return Tuning(
            self.freeze_vision,
            self.freeze_projector,
            self.lora_rank,
            self.lora_alpha,
            self.gradient_checkpointing,
        )


def train(config: SftConfig) -> dict[str, Any]:
    """Runs to the end, or goes on where an earlier run of the same configuration was ended.

    Returns:
        what there is to say of the finished run, in the main process; nothing in others.

    Raises:
        WrongData, GridMismatch: if the sets cannot be trained on.
        TrainingError: if the loss is no number, or nothing can be written.
    """
    check(config, LEAST)
    if config.steps == 0 and config.epochs <= 0:
        raise TrainingError(f"epochs is {config.epochs}, and steps is 0: there is nothing to do")
    out = Path(config.out)
    if checkpoint.claim(out, config, checkpoint.FREE):
        return checkpoint.finished(out, config.model)
    run = _Run(config)
    main = run.learner.accelerator.is_main_process
    with Record(out, run.step, run.steps, "sft", main=main) as record:
        run.go(record)
    feed = run.feed
    facts = {
        "kind": "sft",
        "steps": run.steps,
        "rows": len(feed.refs),
        "held_out": len(feed.held),
        "refused": [asdict(refusal) for refusal in feed.refused],
    }
    return run.learner.finish(out, facts)


class _Run:
    """One run under way."""

    def __init__(self, config: SftConfig) -> None:
        self.config, self.out = config, Path(config.out)
        rate = Rate(config.lr, config.warmup, config.decay)
        betas = (0.9, config.beta2)
        self.learner = learner = Learner(
            config.model,
            config.revision,
            config.tuning,
            rate,
            betas,
            config.weight_decay,
            config.seed,
            config.attention,
            sharded=config.shard,
        )
        self.feed = Feed(
            config.data,
            learner.words,
            learner.family_name,
            config.max_tokens,
            config.validation_share,
        )
        if learner.accelerator.is_main_process:
            for refusal in self.feed.refused:
                print(f"refused: {refusal.id}, {refusal.length} tokens", flush=True)
        self.per_epoch = math.ceil(len(self.feed.refs) / config.batch)
        self.steps = config.steps or math.ceil(self.per_epoch * config.epochs)
        self.step, _ = learner.resume(self.out)

    def go(self, record: Record) -> None:
        # All reading is done by one thread: neither open files nor tokenizers can be shared.
        with ThreadPoolExecutor(1) as drawer:
            for refs, micro_batches in self._drawn(self._plan(), drawer):
                started = time.perf_counter()
                numbers = self._update(len(refs), micro_batches)
                self.step += 1
                taken = time.perf_counter() - started
                record.write(self.step, **numbers, seconds=taken, rows=len(refs))
                record.advance(loss=numbers["loss"])
                last = self.step == self.steps
                if self.feed.held and (last or self.step % self.config.validate_every == 0):
                    record.write(self.step, validation_loss=self._validate(drawer))
                if self.step % self.config.checkpoint_every == 0 and not last:
                    self.learner.keep(self.out, self.step, {})

    def _plan(self) -> Iterator[list[Ref]]:
        """The rows of each update that is still to be made."""
        start = self.step
        for step in range(start, self.steps):
            epoch, place = divmod(step, self.per_epoch)
            if place == 0 or step == start:
                batches = self.feed.epoch(epoch, self.config.seed, self.config.batch)
            yield batches[place]

    def _drawn(
        self, plan: Iterable[list[Ref]], drawer: Executor
    ) -> Iterator[tuple[list[Ref], list[Batch]]]:
        """The rows of a plan, with this process's share of them drawn and encoded ahead of time."""
        waiting: deque[tuple[list[Ref], Future[list[Batch]]]] = deque()
        for refs in plan:
            waiting.append((refs, drawer.submit(self._encoded, refs)))
            if len(waiting) > AHEAD:
                ready, future = waiting.popleft()
                yield ready, future.result()
        for ready, future in waiting:
            yield ready, future.result()

    def _encoded(self, refs: Sequence[Ref]) -> list[Batch]:
        """This process's micro-batches: as many as every other's, filled up with rows of no weight."""
        learner = self.learner
        world, rank = learner.accelerator.num_processes, learner.accelerator.process_index
        own = list(refs[rank::world])
        most = math.ceil(len(refs) / world)
        padded = own + [refs[0]] * (most - len(own))
        made = []
        for start in range(0, most, self.config.micro_batch):
            some = padded[start : start + self.config.micro_batch]
            examples = [self._example(ref) for ref in some]
            micro = batch(examples, learner.words, learner.processor)
            micro.mask[max(0, len(own) - start) :] = False
            made.append(micro)
        return made

    def _example(self, ref: Ref) -> Example:
        learner, (state, turns) = self.learner, self.feed.read([ref])[0]
        try:
            return encode(state, learner.words, learner.family, turns, ref.length, sampled=False)
        except ValueError as error:  # a picture that is none, or of another size than it says
            raise WrongData(f"{self.feed.place(ref)}: {error}") from error

    def _update(self, rows: int, micro_batches: Sequence[Batch]) -> dict[str, float]:
        """One step of the optimizer."""
        learner, accelerator = self.learner, self.learner.accelerator
        total = torch.zeros(2, device=accelerator.device)  # loss, model tokens
        for n, micro in enumerate(micro_batches):
            micro = micro.to(accelerator.device)
            last = n == len(micro_batches) - 1
            with nullcontext() if last else accelerator.no_sync(learner.scorer):
                logprobs, _ = learner.scorer(micro.inputs, micro.mask)
                loss = sft_loss(logprobs, micro.mask, rows)
                # Processes' gradients are averaged; they are parts of a sum.
                accelerator.backward(loss * accelerator.num_processes)
            total += torch.stack([loss.detach(), micro.mask.sum()])
        loss_now, tokens = accelerator.reduce(total).tolist()
        lr = learner.rate.at(self.step, self.steps)
        norm = learner.update(self.out, self.step, lr, loss_now, self.config.max_grad_norm)
        return {"loss": loss_now, "grad_norm": norm, "lr": lr, "tokens": int(tokens)}

    @torch.no_grad()
    def _validate(self, drawer: Executor) -> float:
        """The loss on the rows held out."""
        learner, size = self.learner, self.config.batch
        total = torch.zeros((), device=learner.accelerator.device)
        for _, micro_batches in self._drawn(self.feed.validation(size), drawer):
            for micro in micro_batches:
                micro = micro.to(learner.accelerator.device)
                logprobs, _ = learner.scorer(micro.inputs, micro.mask)
                total += sft_loss(logprobs, micro.mask, len(self.feed.held))
        return float(learner.accelerator.reduce(total))


def main(arguments: Sequence[str] | None = None) -> None:
    try:
        if facts := train(configure(SftConfig, arguments)):
            tell_dagster(facts)
    except (WrongData, models.GridMismatch, TrainingError, OSError) as error:
        print(f"sft: {error}", file=sys.stderr)
        sys.exit(2)
    except torch.OutOfMemoryError as error:
        print(f"sft: {too_small(error)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
