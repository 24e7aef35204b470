"""What a check looks for and how it tells: run by each framework's own interpreter.

A check is a script: ``python interop/check_NAME.py EXPORTS MODEL``. It prints one line of JSON for each
export, as a `Finding`, and fails loudly where a count or a pixel differs.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from pipeline.models import declare_vision_operators

declare_vision_operators()  # beside a torch without CUDA; before a framework imports transformers


@dataclass(frozen=True)
class Finding:
    """What a loader made of an export: counted in the whole of it, and in one batch."""

    export: str
    loaded_by: str
    rows: int
    pictures: int
    placeholders: int
    batch: str  # what was taken of it, in words
    pixels: str  # of one sample, beside what was drawn


def arguments() -> tuple[Path, str]:
    """The folder of the exports, and the model whose processor they were counted with."""
    return Path(sys.argv[1]), sys.argv[2]


def tell(finding: Finding) -> None:
    assert finding.pictures == finding.placeholders, finding
    print("FOUND " + json.dumps(asdict(finding)), flush=True)


def truth(exports: Path, set_: str) -> list[str]:
    """The sha256 of the pixels of every picture of a set's first row."""
    told: dict[str, list[str]] = json.loads((exports / "truth.json").read_text())
    return told[set_]


def same(pictures: Sequence[Any], expected: Sequence[str]) -> str:
    """Compares what a loader decoded, as pictures of Pillow, with what was drawn."""
    seen = [digest(np.asarray(picture.convert("RGB"))) for picture in pictures]
    assert seen == list(expected), f"{len(seen)} pictures, other pixels than were drawn"
    return f"{len(seen)} of {len(expected)} pictures equal"


def digest(pixels: Any) -> str:
    shape = "x".join(map(str, pixels.shape))
    return hashlib.sha256(shape.encode() + pixels.tobytes()).hexdigest()


def matches(ids: Any, grids: Any, processor: Any) -> tuple[int, int]:
    """(pictures, tokens that stand for them) of a batch: the tokens are those that the grids ask for."""
    pad = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    places = int((ids == pad).sum())
    merge = processor.image_processor.merge_size**2
    asked = int(sum(grid.prod() for grid in grids)) // merge
    assert places == asked, f"{places} tokens for pictures, {asked} features"
    return len(grids), places
