"""Pictures as a model takes them in: a processor's patches, and batches of them beside their ids.

torch and transformers are imported inside the functions: importing the method stays light.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pipeline import canvas
from pipeline.images import Pixels
from pipeline.tokens import Vocabulary
from pipeline.types import State

if TYPE_CHECKING:
    import torch


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
