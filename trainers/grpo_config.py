"""What a run of GRPO is told: its fields, their defaults, and what of them is refused."""

from dataclasses import dataclass
from importlib.util import find_spec

from trainers.checkpoint import TrainingError
from trainers.configure import check

LEAST = {"problems_per_step": 1, "samples": 2, "updates": 1, "micro_batch": 1, "steps": 0}
LEAST |= {"checkpoint_every": 1, "in_flight": 1, "max_tokens": 1, "refill": 0, "keep": 0}
SAMPLERS = ("local", "vllm")


@dataclass(frozen=True)
class GrpoConfig:
    """A run. The defaults are the paper's settings for a model of 7 billion parameters."""

    model: str  # a checkpoint, by path or name
    data: list[str]  # folders of RL exports
    out: str
    revision: str | None = None
    steps: int = 0  # 0: as many as one pass over the problems has
    problems_per_step: int = 32
    samples: int = 8  # of each problem: a group
    updates: int = 2  # a step, each on its share of the groups
    micro_batch: int = 8  # trajectories a forward pass
    lr: float = 1e-6
    warmup: float = 0.0
    decay: bool = False
    beta2: float = 0.999
    weight_decay: float = 0.0
    clip_low: float = 0.2
    clip_high: float = 0.3
    max_grad_norm: float = 1.0
    temperature: float = 1.0
    max_tokens: int = 1024  # a turn
    sampler: str = (
        "local"  # transformers, with the very weights; or "vllm", which loads them each step
    )
    importance_cap: float = 2.0  # of the importance weights that another sampler needs
    sampler_memory: float = 0.4  # of a GPU's, for vLLM
    sampler_eager: bool = False  # nothing is compiled there
    max_context: int = 32_768
    in_flight: int = 64  # trajectories under way at once
    beta: float = 0.0
    solved_at: float = 0.9
    w_draw: float = 0.0
    repeat_iou: float = 1.0
    repeat_ends: float = 0.0  # px
    token_level: bool = False  # every token of an update weighs the same
    refill: int = 0  # rounds of fresh problems in place of groups without variance
    mask_truncated: bool = False  # trajectories that hit a limit of tokens teach nothing
    freeze_vision: bool = False
    freeze_projector: bool = False
    lora_rank: int = 0
    lora_alpha: int = 32
    gradient_checkpointing: bool = False
    attention: str = "sdpa"  # as transformers calls it; or flash_attention_2, where it is installed
    checkpoint_every: int = 10
    keep: int = 4  # trajectories of each step, to look at
    seed: int = 0


def refuse_nonsense(config: GrpoConfig) -> None:
    """Raises:
    TrainingError: naming a field, its value, and what is allowed.
    """
    check(config, LEAST)
    if config.sampler not in SAMPLERS:
        raise TrainingError(f"sampler is {config.sampler!r}; there are {', '.join(SAMPLERS)}")
    if config.sampler == "vllm" and config.lora_rank:
        raise TrainingError("vLLM samples from whole weights: set lora_rank 0, or sampler local")
    if config.sampler == "vllm" and find_spec("vllm") is None:
        raise TrainingError('vLLM is not here: pip install "drawloop[vllm]", or set sampler local')
    if config.temperature <= 0:
        raise TrainingError(
            f"temperature is {config.temperature}; it must be more than 0: samples vary"
        )
    if config.importance_cap < 1:
        raise TrainingError(f"importance_cap is {config.importance_cap}; it must be 1 or more")
