"""Models of the families: a checkpoint and its processor, loaded and checked.

torch and transformers are imported inside the functions: importing the method stays light.
"""

import hashlib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.protocol import FAMILIES, Family

if TYPE_CHECKING:
    import torch

FAMILY_OF = {"qwen2_5_vl": "qwen2.5-vl", "qwen2_vl": "qwen2-vl", "qwen3_vl": "qwen3-vl"}
_declared: list[Any] = []  # torchvision's operators go when the object that declares them goes


class GridMismatch(ValueError):
    """A processor whose pixel grid is not that of the pictures."""


def load_processor(model: str, revision: str | None = None) -> Any:
    """The processor of a checkpoint, by path or name.

    Raises:
        OSError: if there is none, or one that takes no pictures.
    """
    declare_vision_operators()
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(model, revision=revision)
    except ValueError as error:  # what transformers says where it finds no file that it knows
        raise OSError(f"{model} has no processor: {error}") from error
    if not hasattr(processor, "image_processor"):  # it takes a lone tokenizer for a processor
        raise OSError(
            f"{model} has no processor of pictures: copy its preprocessor_config.json there"
        )
    return processor


def load_model(
    model: str,
    revision: str | None = None,
    dtype: "torch.dtype | None" = None,
    attention: str | None = None,
) -> Any:
    """A model of the families, by path or name, in evaluation mode; float32 unless told otherwise.

    Args:
        attention: as transformers calls it; by default what it chooses, which is sdpa.

    Raises:
        OSError: if there is no whole checkpoint, or no such attention.
    """
    declare_vision_operators()
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText

    try:
        loaded, told = AutoModelForImageTextToText.from_pretrained(
            model,
            revision=revision,
            dtype=dtype or torch.float32,
            attn_implementation=attention,
            output_loading_info=True,
        )
    except ImportError as error:  # what computes it is not installed
        raise OSError(f"attention {attention} cannot be had: {error}") from error
    except (ValueError, SafetensorError) as error:  # nothing that transformers knows, or a cut file
        raise OSError(f"{model} is no whole checkpoint: {error}") from error
    if missing := sorted(told["missing_keys"]):  # transformers would make them up
        raise OSError(f"{model} is no whole checkpoint: it lacks {missing[0]}")
    for name, weight in loaded.named_parameters():  # it would sample nonsense, and teach nothing
        if not weight.isfinite().all():
            raise OSError(f"{model} is no good checkpoint: not all of {name} are numbers")
    return loaded.eval()


def model_type(model: str, revision: str | None = None) -> str:
    """The ``model_type`` of a checkpoint, by path or name, without its weights.

    Raises:
        OSError: if there is none.
    """
    from transformers import AutoConfig

    try:
        return str(AutoConfig.from_pretrained(model, revision=revision).model_type)
    except ValueError as error:  # nothing that transformers knows
        raise OSError(f"{model} is no checkpoint: {error}") from error


def weights_sha256(folder: Path) -> str:
    """One hash over a checkpoint's weight files, of which a little is in memory at a time."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def fingerprint(model: str) -> str:
    """What tells the weights of a checkpoint in a folder from others.

    Empty where there are none that are whole: of a model by name, or of a folder without safetensors.
    """
    files = [*Path(model).glob("*.safetensors")]
    return weights_sha256(Path(model)) if files and all(file.exists() for file in files) else ""


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
        GridMismatch: naming both, and the checkpoint.
    """
    images = processor.image_processor
    unit = images.patch_size * images.merge_size
    if unit != family.unit:
        name = next(name for name, known in FAMILIES.items() if known == family)
        raise GridMismatch(
            f"the pictures lie on a grid of {family.unit} px ({name}), and the processor of "
            f"{processor.tokenizer.name_or_path} cuts patches of {unit} px: build the set for the "
            f"model's own family"
        )


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
        library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        library.define(f"nms{schema}")
        library.define(f"qnms{schema}")
        _declared.append(library)
        importlib.import_module("torchvision")
