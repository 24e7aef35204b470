"""vLLM as GRPO's sampler: it loads the weights as they are before each step, and samples from them.

Guarantees: nothing that was computed with older weights is used; no step samples with the stream of
another. Does not: make vLLM's numbers the trainer's own, which differ in the last bits, and by more
in bfloat16: that is what the importance weights are for.
"""

from dataclasses import replace
from pathlib import Path

from pipeline.policies import Engine
from pipeline.rollout import Limits
from pipeline.teachers.local import Sampling
from pipeline.teachers.vllm import Vllm
from trainers.learner import Learner
from trainers.model import save


class Reloaded:
    """The engine of a run, which starts with the first step. ``folder`` holds what it loads."""

    def __init__(
        self, learner: Learner, limits: Limits, sampling: Sampling, folder: Path, engine: Engine
    ) -> None:
        self._learner, self._limits, self._sampling = learner, limits, sampling
        self._folder, self._engine = folder, engine
        self._running: Vllm | None = None

    def at(self, seed: str) -> Vllm:
        """The model as it is now, sampled from the streams of ``seed``."""
        save(self._learner.bare.model, self._learner.processor, self._folder)
        sampling = replace(self._sampling, seed=seed)
        if self._running is None:
            bf16 = self._learner.accelerator.mixed_precision == "bf16"
            self._running = Vllm(
                str(self._folder),
                self._limits,
                sampling,
                dtype="bfloat16" if bf16 else "float32",
                engine=self._engine,
            )
        else:
            self._running.load(self._folder)
            self._running.sample_as(sampling)
        return self._running

    def close(self) -> None:
        if self._running is not None:
            self._running.close()
