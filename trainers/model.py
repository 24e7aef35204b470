"""A model as the trainers see it: which weights are trained, what it scores, and how it is saved."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from trainers.losses import token_logprobs


def save(
    model: Any, processor: Any, folder: Path, weights: Mapping[str, torch.Tensor] | None = None
) -> None:
    """A whole checkpoint: weights (the model's own, or those given), configuration, tokenizer and
    processor.

    Raises:
        OSError: if it cannot be written, as on a full disk.
    """
    try:
        model.save_pretrained(folder, state_dict=weights)
    except SafetensorError as error:
        raise OSError(f"{folder}: {error}") from error
    with _Named(folder):
        processor.save_pretrained(folder)


class _Named:
    """Tells of a full disk as an `OSError`: tokenizers raises an `Exception` of no kind at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if kind is Exception:
            raise OSError(f"{self.folder}: {error}") from error


@dataclass(frozen=True, slots=True)
class Tuning:
    """Which weights are trained."""

    freeze_vision: bool = False
    freeze_projector: bool = False
    lora_rank: int = 0  # 0: all that is not frozen
    lora_alpha: int = 32
    gradient_checkpointing: bool = False


def tuned(model: Any, tuning: Tuning) -> Any:
    """The model with only those weights to be trained; with a rank, adapters beside the language
    model's linear layers, and beside the vision tower's unless it is frozen."""
    for name, weight in model.named_parameters():
        if "visual." in name:
            frozen = tuning.freeze_projector if "merger" in name else tuning.freeze_vision
            weight.requires_grad_(not frozen)
    if tuning.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()  # or nothing is checkpointed; these families have no dropout to switch on
    if not tuning.lora_rank:
        return model
    from peft import LoraConfig, get_peft_model

    open_to = {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module.weight.requires_grad and name != "lm_head"
    }
    return get_peft_model(
        model,
        LoraConfig(r=tuning.lora_rank, lora_alpha=tuning.lora_alpha, target_modules=open_to),
    )


def whole(model: Any) -> Any:
    """The model with its adapters, if it has any, taken into its weights."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


class Scorer(torch.nn.Module):
    """A model as the losses see it: batch → log-probabilities of what it wrote, and entropies.

    Args:
        forbidden: ids that sampling forbids, and that have no probability here either.
    """

    def __init__(
        self, model: Any, forbidden: tuple[int, ...] = (), temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.model = model
        self.forbidden, self.temperature = forbidden, temperature

    @property
    def trunk(self) -> Any:
        """The model itself, with its adapters in place but without what holds them."""
        return self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model

    def forward(
        self, inputs: dict[str, torch.Tensor], mask: torch.Tensor, *, entropies: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(B, T) log-probabilities of each token given all before it, and entropies; 0 off the mask.

        Shapes: B trajectories, T tokens. Entropies only if asked for, without gradient.
        """
        bare = self.trunk
        hidden = bare.model(**inputs, use_cache=False).last_hidden_state
        wanted = mask[:, 1:]
        logprobs, entropy = token_logprobs(
            hidden[:, :-1][wanted],
            bare.lm_head,
            inputs["input_ids"][:, 1:][wanted],
            self.forbidden,
            self.temperature,
            entropies=entropies,
        )
        zeros = torch.zeros(mask.shape, device=mask.device)
        spread = None if entropy is None else zeros.masked_scatter(mask, entropy)
        return zeros.masked_scatter(mask, logprobs), spread
