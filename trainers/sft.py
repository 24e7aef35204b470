"""Supervised fine-tuning on exported trajectories: cold, reflective, and drawing skills.

METHOD's loss: the mean over trajectories of each one's mean token loss, on model tokens only.
Accumulation is exact: an update is the same whatever the micro-batches and however many processes.

    python -m trainers.sft --model CHECKPOINT --data EXPORT [EXPORT …] --out FOLDER
    accelerate launch -m trainers.sft …
"""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from pipeline import pixels, tokens
from pipeline.protocol import FAMILIES
from trainers import checkpoint
from trainers.checkpoint import TrainingError
from trainers.encode import Batch, batch, encode
from trainers.feed import Feed, Ref, WrongData
from trainers.losses import sft_loss
from trainers.model import Scorer, Tuning, load, tuned, whole
from trainers.record import Record, tell_dagster

AHEAD = 2  # updates whose rows are drawn while the model is busy


@dataclass(frozen=True)
class SftConfig:
    """A run. The defaults are the paper's settings for a model of 7 billion parameters."""

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

    Raises:
        WrongData, GridMismatch: if the sets cannot be trained on.
        TrainingError: if the loss is no number, or nothing can be written.
    """
    precision = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "no"
    accelerator = Accelerator(mixed_precision=precision)
    out = Path(config.out)
    if checkpoint.claim(out, config):
        print(f"{out} is finished already", flush=True)
        return {}
    run = _Run(config, accelerator)
    with Record(out, run.step, run.steps, "sft", main=accelerator.is_main_process) as record:
        run.go(record)
    return run.finish()


class _Run:
    """One run under way."""

    def __init__(self, config: SftConfig, accelerator: Accelerator) -> None:
        torch.manual_seed(config.seed)
        self.config, self.accelerator, self.out = config, accelerator, Path(config.out)
        self.processor = pixels.load_processor(config.model, config.revision)
        model = load(config.model, config.revision)
        family = pixels.family_name(model.config.model_type)
        pixels.check_grid(self.processor, FAMILIES[family])
        self.words = tokens.vocabulary(self.processor)
        self.feed = Feed(
            config.data, self.words, family, config.max_tokens, config.validation_share
        )
        for refusal in self.feed.refused:
            print(f"refused: {refusal.id}, {refusal.length} tokens", flush=True)
        scorer = Scorer(tuned(model, config.tuning))
        trained = [p for p in scorer.parameters() if p.requires_grad]
        adam = torch.optim.AdamW(
            trained, lr=config.lr, betas=(0.9, config.beta2), weight_decay=config.weight_decay
        )
        self.scorer, self.optimizer = accelerator.prepare(scorer, adam)
        self.per_epoch = math.ceil(len(self.feed.refs) / config.batch)
        self.steps = config.steps or math.ceil(self.per_epoch * config.epochs)
        self.step = self._resume()

    def _resume(self) -> int:
        kept = checkpoint.newest(self.out)
        if kept is None:
            return 0
        tensors, facts = kept
        bare = self.accelerator.unwrap_model(self.scorer)
        bare.load_state_dict(tensors["trained"], strict=False)
        self.optimizer.load_state_dict(tensors["optimizer"])
        torch.set_rng_state(tensors["rng"])
        return int(facts["step"])

    def _keep(self) -> None:
        if self.accelerator.is_main_process:
            bare = self.accelerator.unwrap_model(self.scorer)
            trained = {n: p.detach() for n, p in bare.named_parameters() if p.requires_grad}
            tensors = {
                "trained": trained,
                "optimizer": self.optimizer.state_dict(),
                "rng": torch.get_rng_state(),
            }
            checkpoint.write(self.out, self.step, tensors, {})
        self.accelerator.wait_for_everyone()

    def go(self, record: Record) -> None:
        for refs, micro_batches in self._ahead(self._plan()):
            started = time.perf_counter()
            lr = self._rate(self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            loss, norm, count = self._update(len(refs), micro_batches)
            self.step += 1
            taken = time.perf_counter() - started
            numbers = {"loss": loss, "grad_norm": norm, "lr": lr, "seconds": taken}
            record.write(self.step, **numbers, tokens=count, rows=len(refs))
            record.advance(loss=loss)
            last = self.step == self.steps
            if self.feed.held and (last or self.step % self.config.validate_every == 0):
                record.write(self.step, validation_loss=self.validate())
            if self.step % self.config.checkpoint_every == 0 and not last:
                self._keep()

    def _plan(self) -> Iterator[list[Ref]]:
        """The rows of each update that is still to be made."""
        for step in range(self.step, self.steps):
            epoch, place = divmod(step, self.per_epoch)
            if place == 0 or step == self.step:
                batches = self.feed.epoch(epoch, self.config.seed, self.config.batch)
            yield batches[place]

    def _ahead(self, plan: Iterator[list[Ref]]) -> Iterator[tuple[list[Ref], list[Batch]]]:
        """Each update's rows, with this process's share of them drawn and encoded ahead of time."""
        with ThreadPoolExecutor(1) as drawer:
            waiting: list[tuple[list[Ref], Future[list[Batch]]]] = []
            for refs in plan:
                waiting.append((refs, drawer.submit(self._encoded, refs)))
                if len(waiting) > AHEAD:
                    ready, future = waiting.pop(0)
                    yield ready, future.result()
            for ready, future in waiting:
                yield ready, future.result()

    def _encoded(self, refs: Sequence[Ref]) -> list[Batch]:
        """This process's micro-batches: as many as every other's, filled up with rows of no weight."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        own = list(refs[rank::world])
        most = math.ceil(len(refs) / world)
        padded = own + [refs[0]] * (most - len(own))
        made = []
        for start in range(0, most, self.config.micro_batch):
            some = padded[start : start + self.config.micro_batch]
            examples = [
                encode(state, self.words, self.feed.family, turns, ref.length, sampled=False)
                for ref, (state, turns) in zip(some, self.feed.read(some), strict=True)
            ]
            micro = batch(examples, self.words, self.processor)
            micro.mask[max(0, len(own) - start) :] = False
            made.append(micro)
        return made

    def _update(self, rows: int, micro_batches: Sequence[Batch]) -> tuple[float, float, int]:
        """One step of the optimizer: (loss, norm of the gradient, model tokens)."""
        total = torch.zeros((), device=self.accelerator.device)
        count = torch.zeros((), device=self.accelerator.device)
        for n, micro in enumerate(micro_batches):
            micro = micro.to(self.accelerator.device)
            last = n == len(micro_batches) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.scorer):
                logprobs, _ = self.scorer(micro.inputs, micro.mask)
                loss = sft_loss(logprobs, micro.mask, rows)
                # Processes' gradients are averaged; they are parts of a sum.
                self.accelerator.backward(loss * self.accelerator.num_processes)
            total += loss.detach()
            count += micro.mask.sum()
        loss_now, tokens_now = self.accelerator.reduce(torch.stack([total, count])).tolist()
        if not math.isfinite(loss_now):
            self._stop(f"the loss is {loss_now}")
        norm = self.accelerator.clip_grad_norm_(self.scorer.parameters(), self.config.max_grad_norm)
        if not math.isfinite(float(norm)):
            self._stop(f"the norm of the gradient is {float(norm)}")
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss_now, float(norm), int(tokens_now)

    def _stop(self, why: str) -> None:
        kept = checkpoint.steps(self.out)
        there = f"the checkpoint of step {kept[-1]} is good" if kept else "there is no checkpoint"
        raise TrainingError(
            f"{self.out}: in update {self.step + 1} {why}; {there}. Lower the learning rate, or look "
            f"at the rows of that update"
        )

    @torch.no_grad()
    def validate(self) -> float:
        """The loss on the rows held out."""
        held = sorted(self.feed.held, key=lambda ref: ref.length)
        total = torch.zeros((), device=self.accelerator.device)
        for start in range(0, len(held), self.config.batch):
            for micro in self._encoded(held[start : start + self.config.batch]):
                micro = micro.to(self.accelerator.device)
                logprobs, _ = self.scorer(micro.inputs, micro.mask)
                total += sft_loss(logprobs, micro.mask, len(held))
        return float(self.accelerator.reduce(total))

    def _rate(self, step: int) -> float:
        """Linear warm-up, then a cosine to zero."""
        warm = self.config.warmup * self.steps
        if step < warm:
            return self.config.lr * (step + 1) / max(1.0, warm)
        if not self.config.decay:
            return self.config.lr
        passed = (step - warm) / max(1.0, self.steps - warm)
        return self.config.lr * 0.5 * (1 + math.cos(math.pi * passed))

    def finish(self) -> dict[str, Any]:
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return {}
        model = whole(self.accelerator.unwrap_model(self.scorer).model)
        facts = {
            "kind": "sft",
            "steps": self.steps,
            "rows": len(self.feed.refs),
            "held_out": len(self.feed.held),
            "refused": [asdict(refusal) for refusal in self.feed.refused],
        }
        return checkpoint.finish(self.out, model, self.processor, facts)


def main(arguments: Sequence[str] | None = None) -> None:
    from transformers import HfArgumentParser

    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = HfArgumentParser(SftConfig)
    if len(given) == 1 and given[0].endswith(".json"):
        (config,) = parser.parse_json_file(given[0])
    else:
        (config,) = parser.parse_args_into_dataclasses(given)
    try:
        tell_dagster(train(config))
    except (WrongData, pixels.GridMismatch, TrainingError, OSError) as error:
        print(f"sft: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
