"""GRPO on problems that the model solves sometimes, with drawings in the middle of its rollouts.

A step samples a group of trajectories of each problem with the model as it is, through the
pipeline's own rollout; whatever ends a trajectory but an answer earns 0. Then GRPO's loss
without KL, in several updates, on the very ids that were sampled.

    python -m trainers.grpo --model CHECKPOINT --data RL_EXPORT --out FOLDER
"""

import asyncio
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from pipeline import curate, models, tokens
from pipeline.curate import Graded
from pipeline.policies import Engine
from pipeline.reflection import Tolerance
from pipeline.reward import Rules
from pipeline.rollout import Limits, rollout
from pipeline.teachers.local import Local, Sampling
from pipeline.types import Failure, Policy, Problem, Stop
from trainers import checkpoint
from trainers.asked import Asked
from trainers.checkpoint import TrainingError
from trainers.configure import configure
from trainers.encode import Batch, Example, batch, encode
from trainers.exported import WrongData
from trainers.grpo_config import GrpoConfig, refuse_nonsense
from trainers.learner import Learner, Rate, too_small
from trainers.losses import Clip, advantages, grpo_loss, importance
from trainers.model import Tuning
from trainers.outcomes import outcome, shown, told
from trainers.record import Record, tell_dagster
from trainers.reloaded import Reloaded

OF_TOKENS = ("clip_fraction", "entropy")  # means over the tokens that teach
OF_ENGINES = ("sampler_gap", "importance_capped")  # if another samples: |Δ log p|, weights cut
PolicyOf = Callable[[int], Policy]  # of a step
Group = list[Graded]


@dataclass(frozen=True, slots=True)
class Paid:
    """A trajectory that teaches: as an example, with its advantage."""

    example: Example
    advantage: float
    sampled: tuple[float, ...] = ()  # its tokens' log-probabilities, as the sampler gave them


def train(config: GrpoConfig, policy: PolicyOf | None = None) -> dict[str, Any]:
    """Runs to the end, or goes on where an earlier run of the same configuration was ended.

    Args:
        policy: who samples in a step; by default the model that is trained. Its turns must carry
            the ids that were sampled.

    Raises:
        WrongData, GridMismatch: if the problems cannot be used.
        TrainingError: if the loss is no number, or nothing can be written.
    """
    refuse_nonsense(config)
    out = Path(config.out)
    if checkpoint.claim(out, config, checkpoint.FREE):
        return checkpoint.finished(out, config.model)
    run = _Run(config, policy)
    try:
        with Record(out, run.step, run.steps, "grpo", main=True) as record:
            run.go(record)
    finally:
        run.close()
    facts = {"kind": "grpo", "steps": run.steps, "problems": len(run.asked), "failed": run.failed}
    return run.learner.finish(out, facts)


class _Run:
    """One run under way."""

    def __init__(self, config: GrpoConfig, policy: PolicyOf | None) -> None:
        self.config, self.out = config, Path(config.out)
        tuning = Tuning(
            config.freeze_vision,
            config.freeze_projector,
            config.lora_rank,
            config.lora_alpha,
            config.gradient_checkpointing,
        )
        rate = Rate(config.lr, config.warmup, config.decay)
        betas = (0.9, config.beta2)
        self.learner = Learner(
            config.model,
            config.revision,
            tuning,
            rate,
            betas,
            config.weight_decay,
            config.seed,
            config.attention,
        )
        if self.learner.accelerator.num_processes > 1:
            raise TrainingError("grpo runs as one process: start it without a launcher")
        learner = self.learner
        learner.bare.forbidden, learner.bare.temperature = learner.words.vision, config.temperature
        self.asked = Asked(config.data, learner.family_name)
        self.limits = Limits(
            task_turns=tuple(self.asked.turns.items()),
            max_images=self.asked.max_images,
            max_context=config.max_context,
            repeats=Tolerance(config.repeat_iou, config.repeat_ends),
        )
        self.rules = Rules(config.beta, config.solved_at, config.w_draw)
        self.reloaded = self._reloaded() if config.sampler == "vllm" else None
        self.policy = policy or self._live
        self.steps = config.steps or math.ceil(len(self.asked) / config.problems_per_step)
        self.step, facts = learner.resume(self.out)
        self.failed = int(facts.get("failed", 0))
        self.last_failure = ""

    def _reloaded(self) -> Reloaded:
        config, limits = self.config, self.limits
        engine = Engine(
            memory_share=config.sampler_memory, at_once=config.in_flight, eager=config.sampler_eager
        )
        sampling = Sampling(config.temperature, 1.0, config.max_tokens)
        return Reloaded(self.learner, limits, sampling, self.out / "sampler", engine)

    def close(self) -> None:
        if self.reloaded is not None:
            self.reloaded.close()

    def _live(self, step: int) -> Policy:
        """The model as it is now; no step samples with the stream of another."""
        config, seed = self.config, f"{self.config.seed}/{step}"
        if self.reloaded is not None:
            return self.reloaded.at(seed)
        sampling = Sampling(config.temperature, 1.0, config.max_tokens, seed=seed)
        model, processor = self.learner.bare.trunk, self.learner.processor
        return Local(model, processor, self.limits, sampling, config.in_flight)

    def go(self, record: Record) -> None:
        while self.step < self.steps:
            started = time.perf_counter()
            groups = self._groups()
            sampled = time.perf_counter() - started
            rewards = torch.tensor([[row.score.total for row in group] for group in groups])
            rows = [row for group in groups for row in group]
            learnt = self._learn(groups, advantages(rewards))
            level = (rewards == rewards[:, :1]).all(1).float().mean()
            numbers = {
                **told([outcome(row) for row in rows]),
                **learnt,
                "zero_variance": float(level),
            }
            self._show(rows)
            self.step += 1
            taken = time.perf_counter() - started
            record.write(self.step, **numbers, seconds=taken, seconds_rollout=sampled)
            record.advance(reward=numbers["reward"], strict=numbers["strict"])
            if self.step % self.config.checkpoint_every == 0 and self.step < self.steps:
                self.learner.keep(self.out, self.step, {"failed": self.failed})

    # Sampling --------------------------------------------------------------------------------

    def _groups(self) -> list[Group]:
        """The groups of this step; those without variance are replaced as long as there are rounds."""
        count, rounds = self.config.problems_per_step, 1 + self.config.refill
        groups = self._sampled(self.asked.step(self.step * rounds, count, self.config.seed))
        for extra in range(1, rounds):
            level = [n for n, group in enumerate(groups) if not _varies(group)]
            if not level:
                break
            fresh = self.asked.step(self.step * rounds + extra, count, self.config.seed)
            better = [g for g in self._sampled(fresh[: len(level)]) if _varies(g)]
            for n, group in zip(level, better, strict=False):
                groups[n] = group
        if not groups:
            raise TrainingError(
                f"{self.out}: in step {self.step + 1} no problem could be rolled out; the last: "
                f"{self.last_failure}"
            )
        return groups

    def _sampled(self, problems: Sequence[Problem]) -> list[Group]:
        """A whole group of trajectories for each problem; problems that cannot be asked are named."""
        policy, family = self.policy(self.step), self.learner.family
        count = tokens.counter(self.learner.words)
        distinct = list({problem.id: problem for problem in problems}.values())

        async def run() -> list[Any]:
            runs = rollout(
                policy, distinct, self.config.samples, self.limits, family,
                self.config.in_flight, count,
            )  # fmt: skip
            return [done async for done in runs]

        with self.learner.accelerator.autocast():
            done = asyncio.run(run())
        failures = {d.problem_id: d.reason for d in done if isinstance(d, Failure)}
        for problem_id, reason in failures.items():
            self.last_failure = f"{problem_id}: {reason}"
            print(f"not asked: {self.last_failure}", flush=True)
        self.failed += len(failures)
        whole = [d for d in done if d.problem_id not in failures]
        graded = list(curate.grade(distinct, whole, self.rules, self.limits.repeats))
        size = self.config.samples
        return [graded[n : n + size] for n in range(0, len(graded), size)]

    def _show(self, rows: Sequence[Graded]) -> None:
        """Keeps a few trajectories of the step to look at; done again, it is the same file."""
        folder = self.out / "samples"
        folder.mkdir(exist_ok=True)
        apart = max(1, len(rows) // max(1, self.config.keep))
        lines = [json.dumps(shown(row)) + "\n" for row in rows[::apart][: self.config.keep]]
        checkpoint.write_whole(folder / f"{self.step + 1:06d}.jsonl", "".join(lines).encode())

    # Learning --------------------------------------------------------------------------------

    def _learn(self, groups: Sequence[Group], advantage: torch.Tensor) -> dict[str, float | None]:
        """The updates of a step, each on its share of the groups.

        Returns:
            means over updates, and over the tokens that taught: none where none did.
        """
        updates = min(self.config.updates, len(groups))
        ends = [-(-n * len(groups) // updates) for n in range(updates + 1)]
        parts = [(groups[a:b], advantage[a:b]) for a, b in pairwise(ends)]
        paid = [self._paid(*part) for part in parts]
        # The first update starts from the weights that sampled: there ρ is 1 as it is.
        before = [None, *(self._logprobs(rows) for rows in paid[1:])]
        made = [
            self._update(rows, old, sum(len(group) for group in part), _tokens(part))
            for (part, _), rows, old in zip(parts, paid, before, strict=True)
        ]
        numbers, sums = zip(*made, strict=True)
        means = OF_TOKENS if self.reloaded is None else (*OF_TOKENS, *OF_ENGINES)
        written = sum(s["written"] for s in sums)
        return {
            **{name: sum(n[name] for n in numbers) / len(numbers) for name in numbers[0]},
            **{name: sum(s[name] for s in sums) / written if written else None for name in means},
        }

    def _paid(self, groups: Sequence[Group], advantage: torch.Tensor) -> list[Paid]:
        """The trajectories with an advantage; those without one have no gradient, and cost nothing."""
        cut = (Stop.TRUNCATED, Stop.TOO_LONG) if self.config.mask_truncated else ()
        made = []
        for group, values in zip(groups, advantage.tolist(), strict=True):
            for row, value in zip(group, values, strict=True):
                if value and row.trajectory.stop not in cut:
                    made.append(Paid(self._example(row), value, self._said(row)))
        return sorted(made, key=lambda paid: len(paid.example.ids))

    def _said(self, row: Graded) -> tuple[float, ...]:
        """The sampler's own log-probabilities, where they are not the trainer's."""
        if self.reloaded is None:
            return ()
        return tuple(p for turn in row.trajectory.turns for p in turn.logprobs or ())

    def _example(self, row: Graded) -> Example:
        most = self.limits.turns(row.problem)
        room = self.config.max_context + self.config.max_tokens
        words, family = self.learner.words, self.learner.family
        return encode(row.state, words, family, most, room, sampled=True)

    def _batches(self, rows: Sequence[Paid]) -> Iterator[Batch]:
        """The micro-batches, each made when it is due: pixels of all would not fit on a GPU."""
        size, device = self.config.micro_batch, self.learner.accelerator.device
        words, processor = self.learner.words, self.learner.processor
        for n in range(0, len(rows), size):
            some = [paid.example for paid in rows[n : n + size]]
            yield batch(some, words, processor).to(device)

    @torch.no_grad()
    def _logprobs(self, rows: Sequence[Paid]) -> list[torch.Tensor]:
        """(B, T) of each micro-batch, before the step's first update."""
        return [self.learner.scorer(b.inputs, b.mask)[0] for b in self._batches(rows)]

    def _update(
        self, rows: Sequence[Paid], old: list[torch.Tensor] | None, count: int, tokens_in: int
    ) -> tuple[dict[str, float], dict[str, float]]:
        """One step of the optimizer over ``count`` trajectories, of which ``rows`` have an advantage.

        Returns:
            numbers of the update, and sums over the tokens of ``rows``, which are ``written``.
        """
        learner, config = self.learner, self.config
        lr = learner.rate.at(self.step, self.steps)
        if not rows:
            none = dict.fromkeys(("written", *OF_TOKENS, *OF_ENGINES), 0.0)
            return {"loss": 0.0, "grad_norm": 0.0, "lr": lr}, none
        clip, normaliser = Clip(config.clip_low, config.clip_high), None
        if config.token_level:
            normaliser = tokens_in
        loss = entropy = clipped = written = apart = capped = 0.0
        for n, micro in enumerate(self._batches(rows)):
            some = rows[n * config.micro_batch : (n + 1) * config.micro_batch]
            paid = torch.tensor([row.advantage for row in some], device=micro.mask.device)
            logprobs, spread = learner.scorer(micro.inputs, micro.mask, entropies=True)
            before = logprobs.detach() if old is None else old[n]
            weights = None
            if self.reloaded is not None:
                said = torch.tensor([p for row in some for p in row.sampled], device=paid.device)
                sampled = torch.zeros_like(before).masked_scatter(micro.mask, said)
                weights, cut = importance(before, sampled, micro.mask, config.importance_cap)
                apart += float(((before - sampled).abs() * micro.mask).sum())
                capped += int(cut)
            part, beyond = grpo_loss(
                logprobs, before, micro.mask, paid, clip,
                rows=count, tokens=normaliser, weights=weights,
            )  # fmt: skip
            learner.accelerator.backward(part)
            loss += float(part.detach())
            entropy += float(spread.sum())
            clipped += int(beyond)
            written += int(micro.mask.sum())
        norm = learner.update(self.out, self.step, lr, loss, config.max_grad_norm)
        sums = {"written": written, "clip_fraction": clipped, "entropy": entropy}
        sums |= {"sampler_gap": apart, "importance_capped": capped}
        return {"loss": loss, "grad_norm": norm, "lr": lr}, sums


def _varies(group: Group) -> bool:
    return len({row.score.total for row in group}) > 1


def _tokens(groups: Sequence[Group]) -> int:
    """Model tokens of all trajectories, those without an advantage too."""
    return sum(
        len(turn.ids or ()) for group in groups for row in group for turn in row.trajectory.turns
    )


def main(arguments: Sequence[str] | None = None) -> None:
    try:
        tell_dagster(train(configure(GrpoConfig, arguments)))
    except (WrongData, models.GridMismatch, TrainingError, OSError) as error:
        print(f"grpo: {error}", file=sys.stderr)
        sys.exit(2)
    except torch.OutOfMemoryError as error:
        print(f"grpo: {too_small(error)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
