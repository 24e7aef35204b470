"""Trajectories → tensors: the only place that makes a mask.

The mask is 1 on exactly what the model wrote, its end of turn included, and 0 on prompts,
observations and padding. A trajectory that does not fit is refused whole, with its length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from pipeline import pixels, tokens
from pipeline.images import Pixels
from pipeline.protocol import Family
from pipeline.tokens import Vocabulary
from pipeline.types import State

Inputs = dict[str, torch.Tensor]


class TooLong(ValueError):
    """A trajectory of more tokens than fit; never cut inside a picture, never without pixels."""

    def __init__(self, length: int, most: int) -> None:
        super().__init__(f"{length} tokens, at most {most} fit")
        self.length = length


@dataclass(frozen=True, slots=True)
class Example:
    """One trajectory, ready to be batched."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]  # [first, last) of what the model wrote
    pictures: tuple[Pixels, ...]  # in the order in which they stand

    @property
    def model_tokens(self) -> int:
        return sum(last - first for first, last in self.spans)


@dataclass(frozen=True, slots=True)
class Batch:
    """B trajectories: the model's ``inputs``, and ``mask`` (B, T), true on what the model wrote."""

    inputs: Inputs
    mask: torch.Tensor

    def to(self, device: torch.device) -> "Batch":
        moved = {name: tensor.to(device) for name, tensor in self.inputs.items()}
        return Batch(moved, self.mask.to(device))


def encode(
    state: State,
    words: Vocabulary,
    family: Family,
    max_turns: int,
    max_tokens: int,
    *,
    sampled: bool,
) -> Example:
    """A finished trajectory's state as an example.

    Args:
        sampled: keeps the ids that were sampled (GRPO); else each turn's text is written anew (SFT).

    Raises:
        TooLong: if it has more than ``max_tokens`` tokens.
    """
    written = tokens.told(state, words, family, max_turns, sampled=sampled)
    if len(written.ids) > max_tokens:
        raise TooLong(len(written.ids), max_tokens)
    return Example(written.ids, written.spans, tuple(pixels.drawn(state, written.pictures)))


def batch(
    examples: Sequence[Example],
    words: Vocabulary,
    processor: Any,
    side: Literal["left", "right"] = "right",
) -> Batch:
    """Examples padded to the longest of them."""
    pictures = [picture for example in examples for picture in example.pictures]
    inputs = pixels.collate([e.ids for e in examples], pictures, words, processor, side)
    width = inputs["input_ids"].shape[1]
    mask = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
    for n, example in enumerate(examples):
        shift = 0 if side == "right" else width - len(example.ids)
        for first, last in example.spans:
            mask[n, shift + first : shift + last] = True
    return Batch(inputs, mask)
