"""verl: RLHFDataset with its length filter, MultiTurnSFTDataset, and the collators of both."""

import io
from typing import Any

import pyarrow.parquet as pq
from found import Finding, arguments, matches, same, tell, truth
from omegaconf import OmegaConf
from PIL import Image
from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset
from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

from pipeline.models import load_processor

exports, model = arguments()
processor = load_processor(model)


def files(name: str) -> list[str]:
    return [str(path) for path in sorted((exports / name / "data").iterdir())]


def rl(name: str, set_: str) -> None:
    config = OmegaConf.create(
        {"max_prompt_length": 8192, "return_raw_chat": True, "filter_overlong_prompts_workers": 1,
         "cache_dir": str(exports / "cache")}
    )  # fmt: skip
    rows = RLHFDataset(files(name), processor.tokenizer, config, processor)
    written = sum(pq.read_metadata(file).num_rows for file in files(name))
    assert len(rows) == written, f"{written - len(rows)} rows were filtered out"
    samples = [rows[n] for n in range(len(rows))]
    pictures = [parts(sample["raw_prompt"]) for sample in samples]
    batch = collate_fn(samples[:2])
    text = processor.apply_chat_template(
        samples[0]["raw_prompt"], add_generation_prompt=True, tokenize=False
    )
    made = processor(text=[text], images=pictures[0], return_tensors="pt")
    count, tokens = matches(made["input_ids"], made["image_grid_thw"], processor)
    assert batch["reward_model"][0]["ground_truth"]
    tell(
        Finding(
            name, "RLHFDataset, collate_fn", len(rows), sum(map(len, pictures)),
            sum(text_places(file, "prompt") for file in files(name)),
            f"2 rows; the first as its agent loop encodes it: {count} pictures, {tokens} picture tokens",
            same(pictures[0], truth(exports, set_)),
        )
    )  # fmt: skip


def parts(messages: Any) -> list[Any]:
    """The pictures that stand in messages."""
    content = (part for m in messages if not isinstance(m["content"], str) for part in m["content"])
    return [part["image"] for part in content if part["type"] == "image"]


def text_places(file: str, column: str) -> int:
    rows = pq.read_table(file, columns=[column])[column].to_pylist()
    return sum(message["content"].count("<image>") for row in rows for message in row)


def sft(name: str, set_: str) -> None:
    config = OmegaConf.create({"max_length": 8192, "truncation": "error", "pad_mode": "right"})
    rows = MultiTurnSFTDataset(files(name), processor.tokenizer, config, processor)
    pictures = taught = 0
    for n in range(len(rows)):
        sample = rows[n]
        grids = sample["multi_modal_inputs"]["image_grid_thw"]
        count, tokens = matches(sample["input_ids"], grids, processor)
        pictures, taught = pictures + count, taught + int(sample["loss_mask"].sum())
    cells = pq.read_table(files(name)[0], columns=["images"])["images"][0].as_py()
    decoded = [Image.open(io.BytesIO(cell["bytes"])) for cell in cells]
    tell(
        Finding(
            name, "MultiTurnSFTDataset", len(rows), pictures,
            sum(text_places(file, "messages") for file in files(name)),
            f"every row, as it stands in a batch: the last has {count} pictures, {tokens} picture "
            f"tokens; {taught} taught in all",
            same(decoded, truth(exports, set_)),
        )
    )  # fmt: skip


rl("verl-rl-rl", "rl")
sft("verl-sft-cold", "cold")
sft("verl-sft-reflective", "reflective")
