"""Turns sampled in this process, beside `generate` of transformers on the same prompts.

    python benchmarks/sampling.py [--model CHECKPOINT] [--turns 256] [--samples 8]

Both sides begin with the states: prompts are written, pictures drawn, ids decoded. One batch is 64
turns. `generate` keeps a turn in its batch until the last has ended, and reads a prompt as often as
it is sampled. Sides take turns; the ratio is of medians.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from transformers import GenerationConfig

from benchmarks.measure import HEAD, Claim, seconds
from pipeline import canvas, models, pixels, problems
from pipeline.teachers.local import Local, Sampling, loaded
from pipeline.types import State
from pipeline.versions import load

BASE = Path(__file__).parents[1] / "weights" / "tiny-qwen2.5-vl"
AT_ONCE, MAX_TOKENS = 64, 160


def ours(policy: Local, states: Sequence[State]) -> int:
    """How many tokens were written."""
    made = 0
    for n in range(0, len(states), AT_ONCE):
        for turn in policy.answers(states[n : n + AT_ONCE]):
            assert not isinstance(turn, Exception), turn
            made += len(turn.ids or ())
    return made


def theirs(policy: Local, states: Sequence[State]) -> int:
    words, made = policy.words, 0
    settings = GenerationConfig(
        max_new_tokens=MAX_TOKENS,
        do_sample=True,
        top_k=0,
        eos_token_id=words.end,
        pad_token_id=words.pad,
    )
    policy.model.generation_config = settings  # else it fills up with what a checkpoint says
    torch.manual_seed(0)
    for n in range(0, len(states), AT_ONCE):
        some = states[n : n + AT_ONCE]
        prompts = [policy._prompt(state) for state in some]
        drawn = [p for s, w in zip(some, prompts, strict=True) for p in pixels.drawn(s, w.pictures)]
        rows = [prompt.ids for prompt in prompts]
        inputs = pixels.collate(rows, drawn, words, policy.processor, side="left")
        given = {name: tensor.to(policy.model.device) for name, tensor in inputs.items()}
        with torch.no_grad():
            written = policy.model.generate(**given, generation_config=settings)
        for ids in written[:, inputs["input_ids"].shape[1] :].tolist():
            ids = ids[: ids.index(words.end) + 1] if words.end in ids else ids
            policy.processor.tokenizer.decode(ids)
            made += len(ids)
    return made


def claims(model: str, turns: int, samples: int) -> Iterator[Claim]:
    version = load("ladder")
    asked = list(map(problems.make, islice(problems.orders(version, "rl"), turns)))
    processor = models.load_processor(model)
    policy = Local(
        loaded(model), processor, version.limits, Sampling(max_tokens=MAX_TOKENS), AT_ONCE
    )
    for each in (1, samples):
        states = [
            canvas.opened(problem, n) for problem in asked[: turns // each] for n in range(each)
        ]
        written = [ours(policy, states), theirs(policy, states)]
        took = seconds(3, partial(ours, policy, states), partial(theirs, policy, states))
        rates = [count / one for count, one in zip(written, took, strict=True)]
        yield Claim(
            f"{len(states)} first turns, {each} of a problem",
            f"{rates[0]:,.0f} tokens/s",
            f"{rates[1]:,.0f} tokens/s, `generate`",
            f"{rates[0] / rates[1]:.2f} × as fast",
            "–",
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(BASE))
    parser.add_argument("--turns", type=int, default=256)
    parser.add_argument("--samples", type=int, default=8)
    given = parser.parse_args()
    print(HEAD, *claims(given.model, given.turns, given.samples), sep="\n")
