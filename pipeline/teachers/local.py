"""A transformers model in this process: the student while it learns, or any checkpoint.

Guarantees: every unfinished trajectory that is waiting goes into one batch, which it leaves when
its turn has ended; samples of one prompt read it once; each has a random stream of its own, keyed
by seed, problem, sample and turn, so that what it samples does not hang on its neighbours;
log-probabilities are those of the distribution that was sampled from, before top-p. Ids that stand
for pictures have no probability.
Does not: keep attention caches from one turn to the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from pipeline import models, pixels, tokens
from pipeline.batching import BATCH, Batching, Outcome
from pipeline.images import Pixels
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
        places: dict[tuple[str, tuple[int, ...]], int] = {}  # of every prompt, once
        reads: list[int] = []
        rows: list[tuple[int, ...]] = []
        pictures: list[Pixels] = []
        for state, prompt in zip(states, prompts, strict=True):
            place = places.setdefault((state.problem.id, tuple(prompt.ids)), len(rows))
            if place == len(rows):
                rows.append(prompt.ids)
                pictures += pixels.drawn(state, prompt.pictures)
            reads.append(place)
        inputs = pixels.collate(rows, pictures, self.words, self.processor, side="left")
        streams = [self._stream(state) for state in states]
        chosen, logprobs = generate(self.model, inputs, reads, self.words, self.sampling, streams)
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
    reads: Sequence[int],
    words: Vocabulary,
    sampling: Sampling,
    streams: Sequence[Random],
) -> tuple[list[tuple[int, ...]], list[tuple[float, ...]]]:
    """One turn for each stream: its ids up to its end, and their log-probabilities.

    A turn without an end hit ``sampling.max_tokens``. What the checkpoint says of generation, as a
    penalty on repetition, counts for nothing: it would bend what is sampled away from the model.

    Args:
        inputs: prompts, as a left-padded batch.
        reads: of each turn, the row of its prompt.
    """
    import torch

    turns = [_Written(stream) for stream in streams]
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            batch = _Batch(model, inputs)
            batch.keep(reads)
            _write(batch, turns, words, sampling)
    finally:
        model.train(training)
    return [tuple(turn.ids) for turn in turns], [tuple(turn.logprobs) for turn in turns]


@dataclass(frozen=True, slots=True)
class _Written:
    """A turn while it is written, and the stream that it is drawn from."""

    stream: Random
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


def _write(
    batch: "_Batch", turns: Sequence[_Written], words: Vocabulary, sampling: Sampling
) -> None:
    """Writes every turn to its end; one that has ended leaves the batch, and costs nothing more."""
    for left in reversed(range(sampling.max_tokens)):
        streams = [turn.stream for turn in turns]
        picked, logprobs = _chosen(batch.logits(), words, sampling, streams)
        for turn, id_, logprob in zip(turns, picked.tolist(), logprobs.tolist(), strict=True):
            turn.ids.append(id_)
            turn.logprobs.append(logprob)
        going = [n for n, turn in enumerate(turns) if turn.ids[-1] != words.end]
        if not going or not left:
            return
        turns, picked = [turns[n] for n in going], picked[going]
        batch.keep(going)
        batch.read(picked)


class _Batch:
    """What a model has read of each of some rows."""

    def __init__(self, model: Any, inputs: dict[str, "torch.Tensor"]) -> None:
        device = next(model.parameters()).device
        given = {name: tensor.to(device) for name, tensor in inputs.items()}
        told = model.model(**given, use_cache=True)
        self.model, self.mask, self.cache = model, given["attention_mask"], told.past_key_values
        self.hidden = told.last_hidden_state[:, -1].clone()  # or it holds all of the prompt's
        # What is written has one position, not three: the first is after the greatest of the prompt.
        self.place = self.mask.sum(1, keepdim=True) + model.model.rope_deltas.to(device)

    def logits(self) -> "torch.Tensor":
        """(B, V), of what comes next."""
        logits: torch.Tensor = self.model.lm_head(self.hidden)
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Leaves these rows, in this order; one may be there several times."""
        import torch

        if [*rows] == [*range(len(self.mask))]:
            return
        index = torch.tensor(rows, device=self.mask.device)
        self.cache.batch_select_indices(index)
        self.hidden, self.mask = self.hidden[index], self.mask[index]
        self.place = self.place[index]

    def read(self, ids: "torch.Tensor") -> None:
        """Reads one more id (B,) of each row."""
        import torch

        self.mask = torch.cat([self.mask, self.mask.new_ones(len(ids), 1)], dim=1)
        told = self.model.model(
            input_ids=ids[:, None],
            attention_mask=self.mask,
            position_ids=self.place.expand(3, -1, -1),
            past_key_values=self.cache,
            use_cache=True,
        )
        self.hidden, self.place = told.last_hidden_state[:, -1], self.place + 1


def _chosen(
    logits: "torch.Tensor", words: Vocabulary, sampling: Sampling, streams: Sequence[Random]
) -> "tuple[torch.Tensor, torch.Tensor]":
    """(B, V) logits → the next id of each row, drawn from its own stream, and its log-probability."""
    logits = logits.float()
    logits[:, list(words.vision)] = float("-inf")
    heat = sampling.temperature
    logprobs = (logits / heat if heat else logits).log_softmax(-1)
    picked = _sampled(logprobs, sampling.top_p, streams) if heat else logprobs.argmax(-1)
    return picked, logprobs.gather(-1, picked[:, None])[:, 0]


def _sampled(logprobs: "torch.Tensor", top_p: float, streams: Sequence[Random]) -> "torch.Tensor":
    """Inverts each row's cumulative distribution at a number of its own stream; (B,) ids."""
    import torch

    shares = logprobs.exp()
    draws = [stream.random() for stream in streams]
    at = torch.tensor(draws, dtype=torch.float64, device=shares.device)[:, None]
    if top_p < 1:
        ordered, order = shares.sort(descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        ordered = ordered.masked_fill(before >= top_p, 0.0)
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
