"""Pictures as a model takes them in: a processor's patches, and batches of them beside their ids.

torch and transformers are imported inside the functions: importing the method stays light.
"""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pipeline import canvas
from pipeline.images import Pixels
from pipeline.protocol import FAMILIES, Family
from pipeline.tokens import Vocabulary
from pipeline.types import State

if TYPE_CHECKING:
    import torch

FAMILY_OF = {"qwen2_5_vl": "qwen2.5-vl", "qwen2_vl": "qwen2-vl", "qwen3_vl": "qwen3-vl"}
_declared: list[Any] = []  # torchvision's operators go when the object that declares them goes


class GridMismatch(ValueError):
    """A processor whose pixel grid is not that of the pictures."""


def load_processor(model: str, revision: str | None = None) -> Any:
    """The processor of a checkpoint, by path or name.

    Raises:
        OSError: if there is none.
    """
    declare_vision_operators()
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(model, revision=revision)


def family_name(model_type: str) -> str:
    """The family, of `protocol.FAMILIES`, that a checkpoint's ``model_type`` belongs to.

    Raises:
        GridMismatch: if it is none of them.
    """
    if model_type not in FAMILY_OF:
        raise GridMismatch(f"a model of type {model_type!r}; known are {', '.join(FAMILY_OF)}")
    return FAMILY_OF[model_type]


def check_grid(processor: Any, family: Family) -> None:
    """Refuses a processor whose patch unit is not the family's.

    Raises:
        GridMismatch: naming both.
    """
    images = processor.image_processor
    unit = images.patch_size * images.merge_size
    if unit != family.unit:
        name = next(name for name, known in FAMILIES.items() if known == family)
        raise GridMismatch(
            f"the pictures lie on a grid of {family.unit} px ({name}), and this model's processor cuts "
            f"patches of {unit} px: build the set for the model's own family"
        )


def drawn(state: State, pictures: Sequence[int]) -> list[Pixels]:
    """The pixels of the given indices k, drawn now."""
    return [canvas.pixels(state.problem, state.views[k - 1]) for k in pictures]


def collate(
    rows: Sequence[Sequence[int]],
    pictures: Sequence[Pixels],
    words: Vocabulary,
    processor: Any,
    side: Literal["left", "right"],
) -> dict[str, "torch.Tensor"]:
    """One batch of a model's inputs: ids padded on one side, all pictures end to end.

    Pictures are cut into patches as they are: never resized, never dropped.

    Returns:
        ``input_ids``, ``attention_mask`` and ``mm_token_type_ids`` (1 where a picture stands), each
        (B, T), and ``pixel_values`` (patches, features) with ``image_grid_thw`` (pictures, 3).
    """
    import torch

    length = max(map(len, rows))
    ids = torch.full((len(rows), length), words.pad, dtype=torch.long)
    mask = torch.zeros((len(rows), length), dtype=torch.long)
    for n, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(length - len(row), length)
        ids[n, place] = torch.tensor(row, dtype=torch.long)
        mask[n, place] = 1
    made = processor.image_processor(
        list(pictures), do_resize=False, return_tensors="pt", input_data_format="channels_last"
    )
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "mm_token_type_ids": (ids == words.picture).int(),
        "pixel_values": made["pixel_values"],
        "image_grid_thw": made["image_grid_thw"],
    }


def declare_vision_operators() -> None:
    """Makes torchvision importable beside a torch without CUDA.

    The wheels of the package index register operators that only their CUDA build brings; their
    schemas are enough to import the rest, which is all that a processor uses.
    """
    import torch

    if _declared or torch.cuda.is_available():
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "FRAGMENT")
        schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(f"nms{schema}")
        library.define(f"qnms{schema}")
        _declared.append(library)
        importlib.import_module("torchvision")
