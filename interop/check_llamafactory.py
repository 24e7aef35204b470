"""LLaMA-Factory: its own data pipeline, from dataset_info.json to a collated batch."""

import io
import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from found import Finding, arguments, matches, same, tell, truth

sys.modules["torchaudio"] = ModuleType(
    "torchaudio"
)  # no wheel fits this torch, and nothing here sounds
sys.modules["torchaudio"].__spec__ = ModuleSpec("torchaudio", None)

from llamafactory.data import (
    SFTDataCollatorWith4DAttentionMask,
    get_dataset,
    get_template_and_fix_tokenizer,
)
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
from PIL import Image

exports, model = arguments()


def opened(image: Any, folder: Path) -> Any:
    if isinstance(image, dict) and image["bytes"] is not None:
        return Image.open(io.BytesIO(image["bytes"]))
    return Image.open(folder / (image["path"] if isinstance(image, dict) else image))


def check(name: str, set_: str) -> None:
    folder = exports / name
    with tempfile.TemporaryDirectory() as out:
        model_args, data_args, training_args, _, _ = get_train_args(
            {
                "model_name_or_path": model, "stage": "sft", "do_train": True, "output_dir": out,
                "dataset": "drawloop", "dataset_dir": str(folder), "template": "qwen2_vl",
                "cutoff_len": 32768, "image_max_pixels": 1003520, "image_min_pixels": 784,
                "use_cpu": True, "overwrite_cache": True, "report_to": "none",
            }
        )  # fmt: skip
        loaded = load_tokenizer(model_args)
        tokenizer, processor = loaded["tokenizer"], loaded["processor"]
        template = get_template_and_fix_tokenizer(tokenizer, data_args)
        module = get_dataset(template, model_args, data_args, training_args, "sft", **loaded)
        rows = module["train_dataset"]
        collator = SFTDataCollatorWith4DAttentionMask(
            template=template, processor=processor, tokenizer=tokenizer, model=None
        )
        batch = collator([rows[0], rows[1]])
    pictures, tokens = matches(batch["input_ids"], batch["image_grid_thw"], processor)
    taught = int((batch["labels"] != -100).sum())
    pad = tokenizer.convert_tokens_to_ids("<|vision_start|>")
    tell(
        Finding(
            name, "get_dataset, SFTDataCollatorWith4DAttentionMask", len(rows),
            sum(len(row["images"]) for row in rows),
            sum(list(row["input_ids"]).count(pad) for row in rows),
            f"2 rows, {pictures} pictures, {tokens} picture tokens, {taught} taught",
            same([opened(image, folder) for image in rows[0]["images"]], truth(exports, set_)),
        )
    )  # fmt: skip


check("llamafactory-cold", "cold")
check("llamafactory-reflective", "reflective")
check("vilasr-sft-cold", "cold")
