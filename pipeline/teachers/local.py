"""A transformers model in this process: the student while it learns, or any checkpoint.

Guarantees: every unfinished trajectory that is waiting goes into one generate call; each has a
random stream of its own, keyed by seed, problem, sample and turn, so that what it samples does not
hang on its neighbours; log-probabilities are those of the distribution that was sampled from,
before top-p. Ids that stand for pictures have no probability.
Does not: keep attention caches from one turn to the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from pipeline import models, pixels, tokens
from pipeline.batching import BATCH, Batching, Outcome
from pipeline.protocol import FAMILIES, Family
from pipeline.rollout import Limits, check_length, read_turn
from pipeline.tokens import Vocabulary
from pipeline.types import PolicyError, State, Turn

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Sampling:
    """How turns are sampled. A temperature of 0 takes the likeliest token."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 1024  # a turn
    seed: int | str = 0


class Local:
    """A `Policy` over a model and its processor.

    Raises:
        GridMismatch: if the processor's patches are not those of the model's family.
    """

    def __init__(
        self, model: Any, processor: Any, limits: Limits, sampling: Sampling, batch: int = BATCH
    ) -> None:
        self.model, self.processor, self.limits, self.sampling = model, processor, limits, sampling
        self.family: Family = FAMILIES[models.family_name(model.config.model_type)]
        models.check_grid(processor, self.family)
        self.words: Vocabulary = tokens.vocabulary(processor)
        self._batching = Batching(self.answers, batch)

    async def act(self, state: State) -> Turn:
        """The next turn, sampled together with all others that are due.

        Raises:
            PolicyError: if the prompt alone is longer than the limits' context.
        """
        return await self._batching.act(state)

    def answers(self, states: Sequence[State]) -> list[Outcome]:
        """The turns after some states, sampled in one call, or that a prompt alone is too long."""
        refused: dict[int, PolicyError] = {}
        fitting, prompts = [], []
        for place, state in enumerate(states):
            written = self._prompt(state)
            try:
                check_length(len(written.ids), self.limits)
            except PolicyError as error:
                refused[place] = error
            else:
                fitting.append(state)
                prompts.append(written)
        turns = iter(self._turns(fitting, prompts) if fitting else ())
        return [refused.get(place) or next(turns) for place in range(len(states))]

    def _prompt(self, state: State) -> tokens.Written:
        most = self.limits.turns(state.problem)
        return tokens.prompt(state, self.words, self.family, most, sampled=True)

    def _turns(self, states: Sequence[State], prompts: Sequence[tokens.Written]) -> list[Turn]:
        pictures = [
            picture
            for state, prompt in zip(states, prompts, strict=True)
            for picture in pixels.drawn(state, prompt.pictures)
        ]
        rows = [prompt.ids for prompt in prompts]
        inputs = pixels.collate(rows, pictures, self.words, self.processor, side="left")
        chosen, logprobs = generate(
            self.model, inputs, self.words, self.sampling, [self._stream(s) for s in states]
        )
        return [
            self._turn(state, ids, own)
            for state, ids, own in zip(states, chosen, logprobs, strict=True)
        ]

    def _stream(self, state: State) -> Random:
        return Random(f"{self.sampling.seed}/local/{state.due}")

    def _turn(self, state: State, ids: tuple[int, ...], logprobs: tuple[float, ...]) -> Turn:
        truncated = ids[-1] != self.words.end
        text = self.processor.tokenizer.decode(ids if truncated else ids[:-1])
        return read_turn(state, text, self.family, truncated=truncated, ids=ids, logprobs=logprobs)


def loaded(model: str, revision: str | None = None) -> Any:
    """A model to sample from, by path or name: on a GPU and in bfloat16 where there is one.

    Raises:
        OSError: if there is no whole checkpoint.
    """
    import torch

    there = torch.cuda.is_available()
    dtype = torch.bfloat16 if there and torch.cuda.is_bf16_supported() else torch.float32
    return models.load_model(model, revision, dtype).to("cuda" if there else "cpu")


def generate(
    model: Any,
    inputs: dict[str, "torch.Tensor"],
    words: Vocabulary,
    sampling: Sampling,
    streams: Sequence[Random],
) -> tuple[list[tuple[int, ...]], list[tuple[float, ...]]]:
    """One turn for each row of a left-padded batch: its ids up to its end, and their log-probabilities.

    A turn without an end hit ``sampling.max_tokens``. What the checkpoint says of generation, as a
    penalty on repetition, counts for nothing: it would bend what is sampled away from the model.
    """
    import torch
    from transformers import GenerationConfig, LogitsProcessorList

    chooser = _Chooser(words, sampling, streams)
    device = next(model.parameters()).device
    settings = GenerationConfig(
        max_new_tokens=sampling.max_tokens,
        do_sample=False,  # the chooser leaves one id to take
        eos_token_id=words.end,
        pad_token_id=words.pad,
        use_cache=True,
    )
    training, own_settings = model.training, model.generation_config
    model.eval()
    # transformers fills up what the settings leave open with the model's own.
    model.generation_config = settings
    try:
        with torch.no_grad():
            made = model.generate(
                **{name: tensor.to(device) for name, tensor in inputs.items()},
                generation_config=settings,
                logits_processor=LogitsProcessorList([chooser]),
            )
    finally:
        model.generation_config = own_settings
        model.train(training)
    own = made[:, inputs["input_ids"].shape[1] :].tolist()
    logprobs = torch.stack(chooser.logprobs, dim=1).tolist()
    ids = [_up_to_end(row, words.end) for row in own]
    return ids, [tuple(p[: len(row)]) for p, row in zip(logprobs, ids, strict=True)]


def _up_to_end(row: list[int], end: int) -> tuple[int, ...]:
    return tuple(row[: row.index(end) + 1] if end in row else row)


class _Chooser:
    """Samples each row's next id from its own stream, and leaves it as the only one possible."""

    def __init__(self, words: Vocabulary, sampling: Sampling, streams: Sequence[Random]) -> None:
        self._words, self._sampling, self._streams = words, sampling, streams
        self.logprobs: list[torch.Tensor] = []  # a tensor (B,) each step

    def __call__(self, _ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        """(B, T) ids so far and (B, V) logits → (B, V), -inf everywhere but at the chosen id."""
        import torch

        logits = scores.float()
        logits[:, list(self._words.vision)] = float("-inf")
        heat = self._sampling.temperature
        logprobs = (logits / heat if heat else logits).log_softmax(-1)
        picked = logprobs.argmax(-1) if not heat else self._sampled(logprobs)
        self.logprobs.append(logprobs.gather(-1, picked[:, None])[:, 0].cpu())
        only = torch.full_like(logits, float("-inf"))
        return only.scatter(-1, picked[:, None], 0.0)

    def _sampled(self, logprobs: "torch.Tensor") -> "torch.Tensor":
        """Inverts each row's cumulative distribution at a number of its own stream; (B,) ids."""
        import torch

        shares = logprobs.exp()
        draws = [stream.random() for stream in self._streams]
        at = torch.tensor(draws, dtype=torch.float64, device=shares.device)[:, None]
        if self._sampling.top_p < 1:
            ordered, order = shares.sort(descending=True, stable=True)
            before = ordered.cumsum(-1) - ordered
            ordered = ordered.masked_fill(before >= self._sampling.top_p, 0.0)
            rank = _inverted(ordered, at)
            return order.gather(-1, rank[:, None])[:, 0]
        return _inverted(shares, at)


def _inverted(shares: "torch.Tensor", at: "torch.Tensor") -> "torch.Tensor":
    """The first index at which the cumulative share passes ``at`` (B, 1) of the whole; (B,)."""
    import torch

    mass = shares.double().cumsum(-1)
    index = torch.searchsorted(mass, at * mass[:, -1:], right=True)[:, 0]
    # Rounding may point past the last id that has a share at all.
    last = (shares > 0).long().mul(torch.arange(shares.shape[-1], device=shares.device)).amax(-1)
    return torch.minimum(index, last)
