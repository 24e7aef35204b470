"""ms-swift: its loader with the messages preprocessor, its template's encoding, its collator."""

from typing import Any

from found import Finding, arguments, matches, same, tell, truth
from swift.dataset import load_dataset
from swift.model import get_processor
from swift.template import get_template

exports, model = arguments()


def check(name: str, set_: str, mode: str) -> None:
    processor = get_processor(model, model_type="qwen2_5_vl")
    template = get_template(
        processor, template_type="qwen2_5_vl", max_length=8192, truncation_strategy="raise"
    )
    pad = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    template.image_token_id = pad  # it holds Qwen's own id, and the tiny model has another
    template.set_mode(mode)
    path = str(exports / name / "data" / "train-00000.parquet")
    rows, _ = load_dataset(
        [path], strict=True, remove_unused_columns=False, load_from_cache_file=False
    )
    encoded = [template.encode(dict(row), return_template_inputs=True) for row in rows]
    pictures = sum(len(one["image_grid_thw"]) for one in encoded)
    for one in encoded:
        matches(as_array(one["input_ids"]), one["image_grid_thw"], processor)
    batch: Any = template.data_collator(encoded[:2])
    count, tokens = matches(batch["input_ids"], batch["image_grid_thw"], processor)
    if mode == "train":
        said = f"{int((batch['labels'] != -100).sum())} taught"
    else:
        assert all(row["solution"] and row["messages"][-1]["role"] == "user" for row in rows)
        said = "`solution` and `objects` are there for the reward"
    first = encoded[0]["template_inputs"].images
    tell(
        Finding(
            name, "load_dataset, template.encode, data_collator", len(rows), pictures,
            sum(m["content"].count("<image>") for row in rows for m in row["messages"]),
            f"2 rows, {count} pictures, {tokens} picture tokens, {said}",
            same(first, truth(exports, set_)),
        )
    )  # fmt: skip


def as_array(ids: Any) -> Any:
    import numpy as np

    return np.asarray(ids)


check("ms-swift-cold", "cold", "train")
check("ms-swift-reflective", "reflective", "train")
check("ms-swift-rl", "rl", "pt")
