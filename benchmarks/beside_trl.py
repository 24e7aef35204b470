"""Our trainers beside TRL's on the same tiny model, data and batch, in one run.

    python benchmarks/beside_trl.py [--steps 20] [--rounds 3]

SFT: the same one-turn rows, the same rows a step; every token is counted, prompt and pictures too.
GRPO: the same questions, one turn each, 8 × 8 trajectories of at most 64 tokens a step; rewards are
drawn at random on both sides, so that every trajectory has an advantage and none is skipped. Each
side runs in a process of its own, one after the other, in turns; the first steps are left out.
Peak memory is the largest resident set of the process.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

HOME = Path(__file__).parent.parent
WARM = 3  # steps left out
ROWS = 16  # of an SFT step
PROBLEMS, SAMPLES, TURN = 8, 8, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--export", help="the folder of a skills export; else that of `base`")
    parser.add_argument("--model", default=str(HOME / "weights" / "tiny-qwen2.5-vl"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES)
    given = parser.parse_args()
    export = given.export or _export()
    if given.side:
        print(json.dumps(SIDES[given.side](export, given.model, given.steps)))
        return
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(given.rounds):
        for side in SIDES:
            told = ["--export", export, "--model", given.model, "--steps", str(given.steps)]
            command = [sys.executable, __file__, *told, "--side", side]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            found[side].append(json.loads(done.stdout.splitlines()[-1]))
    middle = {
        side: {key: median(run[key] for run in runs) for key in runs[0]}
        for side, runs in found.items()
    }
    print("| | ours | TRL | ratio |\n|---|---|---|---|")
    _line("SFT, tokens a second", middle["sft"]["rate"], middle["trl-sft"]["rate"])
    _line("SFT, peak memory, MB", middle["sft"]["peak_mb"], middle["trl-sft"]["peak_mb"])
    _line("GRPO, seconds a step", middle["grpo"]["seconds"], middle["trl-grpo"]["seconds"])
    _line("GRPO, peak memory, MB", middle["grpo"]["peak_mb"], middle["trl-grpo"]["peak_mb"])


def _export() -> str:
    """The drawing skills of the version `base`, built if they are not there."""
    from assets.build import build
    from pipeline.store import Store
    from pipeline.versions import load

    names = ("problems", "drawing_skills", "skills_export")
    return [build(name, load("base"), Store.at()) for name in names][-1].path


def _line(what: str, ours: float, theirs: float) -> None:
    print(f"| {what} | {ours:,.2f} | {theirs:,.2f} | {ours / theirs:.2f} |")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _rows(export: str, count: int) -> list[dict[str, Any]]:
    """The first rows that are a drawing alone."""
    from trainers.exported import open_part, parts_of

    def every() -> Iterator[dict[str, Any]]:
        for path in parts_of(export):
            part = open_part(path)
            for group in range(part.num_row_groups):
                yield from part.read_row_group(group).to_pylist()

    return list(islice((row for row in every() if len(row["turns"]) == 1), count))


def _one_turn(export: str, count: int) -> list[Any]:
    """(state, turns) of these rows, pictures and all."""
    from trainers.exported import stated

    return [stated(row) for row in _rows(export, count)]


def _few(export: str, count: int, root: Path) -> str:
    """The folder of an export of these rows alone, so that neither side holds more than it needs."""
    from assets.bodies import TABLES
    from pipeline.store import Store, Writer

    with Writer(Store.at(root), "skills_export", "few", TABLES["export"]) as writer:
        for row in _rows(export, count):
            writer.append("train", row)
    return str(root / "skills_export" / "few")


# SFT ---------------------------------------------------------------------------------------------


def sft(export: str, model: str, steps: int) -> dict[str, float]:
    from trainers import sft as trainer

    class Clock:
        """Notes when each step ends, in place of what a run tells."""

        ends: ClassVar[list[float]] = []

        def write(self, *_: Any, **__: Any) -> None:
            pass

        def advance(self, **_: Any) -> None:
            self.ends.append(time.perf_counter())

    # At the last step that counts as much is drawn ahead as at the first.
    planned = steps + trainer.AHEAD + 1
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryDirectory() as few:
        config = trainer.SftConfig(
            model=model,
            data=[_few(export, ROWS * planned, Path(few))],
            out=out,
            steps=planned,
            batch=ROWS,
            micro_batch=ROWS,
            lr=1e-4,
            checkpoint_every=10**6,
        )
        run = trainer._Run(config)
        one_turn = run.feed.refs[: ROWS * planned]
        batches = [one_turn[n : n + ROWS] for n in range(0, len(one_turn), ROWS)]
        run.feed.epoch = lambda *_: batches  # type: ignore[method-assign]
        started = time.perf_counter()
        run.go(Clock())  # type: ignore[arg-type]
    ends = [started, *Clock.ends]
    tokens = sum(ref.length for ref in one_turn[WARM * ROWS : steps * ROWS])
    return {"rate": tokens / (ends[steps] - ends[WARM]), "peak_mb": _peak()}


def trl_sft(export: str, model: str, steps: int) -> dict[str, float]:
    from pipeline import models, tokens

    models.declare_vision_operators()
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    told = _one_turn(export, ROWS * steps)
    processor = models.load_processor(model)
    words = tokens.vocabulary(processor)
    lengths = [
        len(tokens.told(state, words, _family(model), turns, sampled=False).ids)
        for state, turns in told
    ]
    data = Dataset.from_list([_as_trl(state, turns, model, full=True) for state, turns in told])
    with tempfile.TemporaryDirectory() as out:
        config = SFTConfig(
            out,
            per_device_train_batch_size=ROWS,
            max_steps=steps,
            learning_rate=1e-4,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            max_length=None,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            completion_only_loss=True,
            disable_tqdm=True,
            train_sampling_strategy="sequential",
        )
        trainer = SFTTrainer(
            models.load_model(model), args=config, train_dataset=data, processing_class=processor
        )
        trainer.train_dataset = data  # in the order of the rows, so that lengths are known
        seconds = _timed(trainer)
    kept = [length for n, length in enumerate(lengths) if n >= WARM * ROWS]
    return {"rate": sum(kept) / sum(seconds[WARM:]), "peak_mb": _peak()}


# GRPO --------------------------------------------------------------------------------------------


def grpo(export: str, model: str, steps: int) -> dict[str, float]:
    import torch

    from pipeline.rollout import Limits
    from trainers import grpo as trainer
    from trainers.grpo import GrpoConfig

    problems = [state.problem for state, _ in _one_turn(export, PROBLEMS * steps)]

    class Alone(trainer._Run):
        """Takes the problems as they are, one turn each."""

        def __init__(self, config: GrpoConfig) -> None:
            super().__init__(config, None)
            self.limits = Limits(max_turns=1, task_turns=(), max_context=8192)

    trainer.Asked = lambda *_: _Given(problems)  # type: ignore[misc,assignment]
    seconds = []
    with tempfile.TemporaryDirectory() as out:
        config = GrpoConfig(
            model=model,
            data=[],
            out=out,
            steps=steps,
            problems_per_step=PROBLEMS,
            samples=SAMPLES,
            updates=1,
            micro_batch=PROBLEMS * SAMPLES,
            max_tokens=TURN,
            lr=1e-5,
        )
        run = Alone(config)
        for _ in range(steps):
            started = time.perf_counter()
            groups = run._groups()
            run._learn(groups, torch.randn(len(groups), SAMPLES))
            run.step += 1
            seconds.append(time.perf_counter() - started)
    return {"seconds": median(seconds[WARM:]), "peak_mb": _peak()}


class _Given:
    """Problems in the order given."""

    def __init__(self, problems: list[Any]) -> None:
        self.problems, self.turns, self.max_images = problems, dict[str, int](), 42

    def __len__(self) -> int:
        return len(self.problems)

    def step(self, number: int, count: int, _seed: int) -> list[Any]:
        return self.problems[number * count : (number + 1) * count]


def trl_grpo(export: str, model: str, steps: int) -> dict[str, float]:
    from pipeline import models

    models.declare_vision_operators()
    from random import Random

    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    told = _one_turn(export, PROBLEMS * steps)
    processor = models.load_processor(model)
    processor.tokenizer.padding_side = "left"
    rng = Random(0)

    def reward(completions: list[Any], **_: Any) -> list[float]:
        return [rng.gauss(0, 1) for _ in completions]

    rows = [_as_trl(state, turns, model, full=False) for state, turns in told]
    with tempfile.TemporaryDirectory() as out:
        config = GRPOConfig(
            out,
            per_device_train_batch_size=PROBLEMS * SAMPLES,
            num_generations=SAMPLES,
            max_completion_length=TURN,
            max_steps=steps,
            beta=0.0,
            loss_type="grpo",
            temperature=1.0,
            learning_rate=1e-5,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
        )
        trainer = GRPOTrainer(
            models.load_model(model),
            reward_funcs=reward,
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=processor,
        )
        seconds = _timed(trainer)
    return {"seconds": median(seconds[WARM:]), "peak_mb": _peak()}


def _timed(trainer: Any) -> list[float]:
    """Seconds from the end of each step to the end of the next."""
    from transformers import TrainerCallback

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    trainer.add_callback(Clock())
    trainer.train()
    return [b - a for a, b in pairwise(ends)]


def _family(model: str) -> Any:
    from transformers import AutoConfig

    from pipeline import models
    from pipeline.protocol import FAMILIES

    return FAMILIES[models.family_name(AutoConfig.from_pretrained(model).model_type)]


def _as_trl(state: Any, turns: int, model: str, *, full: bool) -> dict[str, Any]:
    """A one-turn row as TRL takes it: prompt, pictures and, if ``full``, the completion."""
    from PIL import Image

    from pipeline import pixels
    from pipeline.protocol import Picture, render

    messages = render(state, _family(model), turns)
    parts = [
        {"type": "image"} if isinstance(part, Picture) else {"type": "text", "text": part}
        for part in messages[1].parts
    ]
    system = {"role": "system", "content": [{"type": "text", "text": messages[0].parts[0]}]}
    images = [
        Image.fromarray(p) for p in pixels.drawn(state, range(1, len(state.problem.images) + 1))
    ]
    row: dict[str, Any] = {"prompt": [system, {"role": "user", "content": parts}], "images": images}
    if full:
        said = [{"type": "text", "text": state.turns[0].text}]
        row["completion"] = [{"role": "assistant", "content": said}]
    return row


SIDES: dict[str, Callable[[str, str, int], dict[str, float]]] = {
    "sft": sft,
    "trl-sft": trl_sft,
    "grpo": grpo,
    "trl-grpo": trl_grpo,
}


if __name__ == "__main__":
    main()
