"""Who may sit in the seats of the recipe, as a version file names them, and how they are sampled.

An ``oracle``; a ``checkpoint`` that is given, run by transformers, or by ``vllm``; ``recorded``, what
imported conversations say; ``tiny``, the base kept with the project; ``train``, a model trained here,
from the one before it unless it says another; or ``endpoint``, a model that is served elsewhere.
"""

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from pipeline.fields import Count, Flag, Rate, Real, Section, Share, Whole, among
from pipeline.teachers.oracle import Rates

Scalar = bool | Whole | Annotated[Real, Field(allow_inf_nan=False)] | str
Price = Annotated[Real, Field(ge=0, le=1e9)]


class OraclePolicy(Section):
    """The fallible oracle; ``rates`` override `teachers.oracle.Rates`.

    Without ``draws`` it says in words where things are, and answers in its first turn.
    """

    kind: Literal["oracle"]
    draws: Flag = True
    rates: dict[str, Annotated[Real, Field(ge=0, le=1)]] = {}

    @field_validator("rates")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        return among(value, "rate", Rates.__dataclass_fields__)


class CheckpointPolicy(Section):
    """A model trained elsewhere, by name or path."""

    kind: Literal["checkpoint"]
    model: Annotated[str, Field(min_length=1, max_length=4096)]
    revision: str | None = None


class Engine(Section):
    """How vLLM runs a model: what costs time and memory, and decides nothing of what is sampled."""

    tensor_parallel: Annotated[Whole, Field(ge=1, le=1024)] = 1  # GPUs that share each layer
    memory_share: Rate = 0.9  # of a GPU's memory; on a CPU, vLLM's own variable says how much
    at_once: Annotated[Whole, Field(ge=1, le=65_536)] = 256  # turns that the engine works on
    picture_cache: Annotated[Real, Field(ge=0, le=4096)] = 4.0  # GB of processed pictures
    eager: Flag = False  # nothing is compiled: a quicker start, slower turns


class VllmPolicy(Section):
    """A model trained elsewhere, by name or path, run by vLLM.

    Context, pictures a prompt and tokens a turn are those of ``rollout`` and ``sampling``.
    """

    kind: Literal["vllm"]
    model: Annotated[str, Field(min_length=1, max_length=4096)]
    revision: str | None = None
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    engine: Engine = Engine()

    def recipe(self) -> dict[str, Any]:
        """What decides what it samples."""
        return self.model_dump(exclude={"engine"})


class Prices(Section):
    """What a million tokens cost, in whatever currency the bill is."""

    prompt: Price = 0.0
    completion: Price = 0.0
    cached: Price | None = (
        None  # of the prompt's, those that were cached; as ``prompt`` if left out
    )


class EndpointPolicy(Section):
    """A model behind servers that speak OpenAI's chat completions.

    What decides the content of a turn is in `recipe`. How the model is reached is not: the same
    version may be gone on with from other servers, with more patience, or at another price.
    """

    kind: Literal["endpoint"]
    model: Annotated[str, Field(min_length=1, max_length=4096)]  # as its servers call it
    revision: str | None = None  # told to nobody: another one is another policy
    encoding: Literal["png", "webp", "jpeg"] = "png"  # of pictures; png and webp lose nothing
    quality: Annotated[Whole, Field(ge=1, le=100)] | None = None  # of a jpeg
    token_ids: Flag = False  # ask for the ids that were sampled, and their log-probabilities (vLLM)
    extra: dict[
        str, Scalar | dict[str, Real]
    ] = {}  # more fields of a request, as top_k, logit_bias

    servers: Annotated[tuple[str, ...], Field(min_length=1, max_length=1024)]  # base URLs
    key_from: str | None = None  # the environment variable that holds the key
    pictures: Literal["data", "file"] = "data"  # in the request, or as a path that servers read
    folder: str | None = None  # of such paths
    limit_as: Literal["max_tokens", "max_completion_tokens"] = (
        "max_tokens"  # tokens of a turn, there
    )
    timeout_s: Annotated[Real, Field(gt=0, le=86_400)] = 600.0  # of one request
    patience_s: Annotated[Real, Field(ge=0, le=86_400)] = 600.0  # while every server is down
    retries: Annotated[Whole, Field(ge=0, le=1000)] = 10  # of a turn
    in_flight: Annotated[Whole, Field(ge=1, le=65_536)] = 64  # most requests at once, of a server
    prices: Prices | None = None

    @field_validator("servers", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    # The next two look at the whole section: an error of a field would be told with its value.
    @model_validator(mode="after")
    def _no_secrets(self) -> Self:
        for url in self.servers:
            _check_url(url)
        if len(set(self.servers)) < len(self.servers):
            raise ValueError("servers: one is named twice")
        if self.key_from is not None and not VARIABLE.fullmatch(self.key_from):
            raise ValueError(
                "key_from: must be the NAME of an environment variable, never the key itself"
            )
        return self

    @model_validator(mode="after")
    def _nothing_of_ours(self) -> Self:
        if ours := sorted(OWN_FIELDS & {*self.extra}):
            raise ValueError(f"extra.{ours[0]}: the version says this elsewhere, or may not at all")
        return self

    @model_validator(mode="after")
    def _pictures_are_told_whole(self) -> Self:
        if (self.encoding == "jpeg") != (self.quality is not None):
            raise ValueError("quality goes with encoding jpeg, and with it alone")
        if (self.pictures == "file") != (self.folder is not None):
            raise ValueError("folder goes with pictures file, and with it alone")
        return self

    def recipe(self) -> dict[str, Any]:
        """What decides a turn. What is not asked for is left out: then it decides nothing."""
        always = self.model_dump(include={"kind", "model", "revision", "encoding"})
        asked = self.model_dump(include={"quality", "token_ids", "extra"}, exclude_defaults=True)
        return {**always, **asked}


VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")
# Fields of a request that the version says elsewhere, or that the answer could not be read with.
OWN_FIELDS = {
    *("model", "messages", "temperature", "top_p", "seed", "n", "stream"),
    *("max_tokens", "max_completion_tokens"),
    *("logprobs", "top_logprobs", "return_token_ids", "tools", "stop", "user"),
}


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises, where it is none
    except ValueError as error:
        raise ValueError(f"servers: one is no URL: {error}") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            f"servers: {parts.hostname!r} is named with a credential, a query or a fragment in "
            "its URL: leave it out, and name the key's variable in key_from"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"servers: {url!r} is no URL of a server: http://host:port/v1, or https")


class RecordedPolicy(Section):
    """What imported conversations say: their turns, as if a model said them now."""

    kind: Literal["recorded"]


class TinyPolicy(Section):
    """The tiny base of the version's family that is kept with the project."""

    kind: Literal["tiny"]


class _Training(Section):
    """What every training has: which weights are trained, and how often it can be gone on from."""

    kind: Literal["train"]
    freeze_vision: Flag = False
    freeze_projector: Flag = False
    lora_rank: Annotated[Whole, Field(ge=0, le=4096)] = 0  # 0: all weights are trained
    lora_alpha: Annotated[Whole, Field(ge=1, le=65_536)] = 32
    gradient_checkpointing: Flag = False


class SftPolicy(_Training):
    """Trained here by SFT on exports; the fields are those of the trainer, and so are defaults.

    ``start`` and ``data`` are the model it begins as and the sets it learns from, where they are
    not those of the recipe.
    """

    start: Literal["base_model", "cold_model"] | None = None
    data: (
        Annotated[tuple[Literal["skills", "cold", "reflective"], ...], Field(min_length=1)] | None
    ) = None
    epochs: Annotated[Real, Field(gt=0, le=1000)] = 3.0
    steps: Count = 0  # updates; 0: as many as the epochs have
    batch: Annotated[Whole, Field(ge=1, le=65_536)] = 32  # trajectories an update
    micro_batch: Annotated[Whole, Field(ge=1, le=65_536)] = 4  # of them a forward pass
    lr: Rate = 1e-5
    warmup: Share = 0.1  # of all updates
    beta2: Annotated[Real, Field(ge=0, lt=1)] = 0.999
    max_tokens: Annotated[Whole, Field(ge=16, le=10_000_000)] = 32_768  # of a trajectory
    validation_share: Annotated[Real, Field(ge=0, lt=1)] = 0.0  # of the problems, held out
    validate_every: Annotated[Whole, Field(ge=1)] = 100  # updates
    checkpoint_every: Annotated[Whole, Field(ge=1)] = 200  # updates


class GrpoPolicy(_Training):
    """Trained here by GRPO on the problems for RL; the fields and defaults are the trainer's.

    The reward is the version's ``score``; with ``w_draw`` given, drawing counts so much in it. A
    repeated mark is what ``rollout`` says, or ``repeat_iou`` and ``repeat_ends`` here.
    """

    start: Literal["base_model", "cold_model", "reflective_model"] | None = None
    steps: Count = 0  # 0: each problem once
    problems_per_step: Annotated[Whole, Field(ge=1, le=65_536)] = 32
    samples: Annotated[Whole, Field(ge=2, le=1024)] = 8  # of a problem: a group
    updates: Annotated[Whole, Field(ge=1, le=1024)] = 2  # a step
    micro_batch: Annotated[Whole, Field(ge=1, le=65_536)] = 8
    lr: Rate = 1e-6
    warmup: Share = 0.0
    clip_low: Share = 0.2
    clip_high: Annotated[Real, Field(ge=0, le=10)] = 0.3
    max_grad_norm: Annotated[Real, Field(gt=0, le=1e6)] = 1.0
    temperature: Annotated[Real, Field(gt=0, le=5)] = 1.0
    max_tokens: Annotated[Whole, Field(ge=16, le=65_536)] = 1024  # a turn
    w_draw: Annotated[Real, Field(ge=0, le=100)] | None = None
    repeat_iou: Rate | None = None
    repeat_ends: Annotated[Real, Field(ge=0, le=100)] | None = None  # px
    sampler: Literal["local", "vllm"] | None = None  # who samples; local, if nothing is said
    importance_cap: Annotated[Real, Field(ge=1, le=1000)] | None = None  # where vLLM samples
    token_level: Flag = False
    refill: Annotated[Whole, Field(ge=0, le=1000)] = 0
    mask_truncated: Flag = False
    checkpoint_every: Annotated[Whole, Field(ge=1)] = 10  # steps


Given = OraclePolicy | CheckpointPolicy | VllmPolicy | EndpointPolicy
Policy = Annotated[Given, Field(discriminator="kind")]
Teacher = Annotated[Given | RecordedPolicy, Field(discriminator="kind")]
Base = Annotated[CheckpointPolicy | TinyPolicy, Field(discriminator="kind")]
Student = Annotated[Given | SftPolicy, Field(discriminator="kind")]
Reinforced = Annotated[Given | GrpoPolicy, Field(discriminator="kind")]

# Each seat's model, in the order of the recipe: trained from the one before, if no other is named.
MODELS = ("base_model", "cold_model", "reflective_model", "grpo_model")
TRAINED = MODELS[1:]
# The sets that each may learn from: those of the recipe, and others that are there by then.
LEARNT: dict[str, tuple[str, ...]] = {
    "cold_model": ("skills", "cold"),
    "reflective_model": ("reflective",),
    "grpo_model": ("rl",),
}
LEARNABLE = {**LEARNT, "reflective_model": ("skills", "cold", "reflective")}
# The kinds of policy that each seat takes.
KINDS: dict[str, tuple[str, ...]] = {
    "teacher": ("oracle", "checkpoint", "vllm", "endpoint", "recorded"),
    "base_model": ("checkpoint", "tiny"),
}
KINDS |= dict.fromkeys(TRAINED, ("oracle", "checkpoint", "vllm", "endpoint", "train"))
WITHOUT_WEIGHTS = ("oracle", "endpoint")  # at hand: nobody can be trained from these


class Sampling(Section):
    """How a model is sampled: trajectories a problem, and the sampler's own numbers.

    An oracle has nothing to sample from: with it, temperature and top_p are refused.
    """

    samples: Annotated[Whole, Field(ge=1, le=1024)]
    temperature: Annotated[Real, Field(ge=0, le=5)] = 0.75
    top_p: Annotated[Real, Field(gt=0, le=1)] = 0.9
    max_tokens: Annotated[Whole, Field(ge=16, le=65_536)] = 1024  # a turn


class Sampled(Section):
    policy: Any
    sampling: Sampling

    @model_validator(mode="after")
    def _has_what_it_is_sampled_with(self) -> Self:
        given = self.sampling.model_fields_set & {"temperature", "top_p"}
        if self.policy.kind == "oracle" and given:
            raise ValueError(f"an oracle has no {' or '.join(sorted(given))}: leave it out")
        if self.policy.kind == "recorded" and (given or self.sampling.samples != 1):
            raise ValueError("what is recorded is there once: samples 1, and nothing else")
        return self


class Stage(Sampled):
    """A policy that can be run, and how it is sampled."""

    policy: Teacher


class StudentStage(Sampled):
    """A model that may be trained here, and how it is sampled."""

    policy: Student
