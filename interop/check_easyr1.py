"""EasyR1: its RLHFDataset and collator, from a checkout that is named by ``$EASYR1``."""

import os
import sys

from found import Finding, arguments, matches, same, tell, truth

exports, model = arguments()
sys.path.insert(0, os.environ["EASYR1"])

from datasets import load_dataset
from pipeline.models import load_processor
from verl.utils.dataset import RLHFDataset, collate_fn, process_image

processor = load_processor(model)


def check(name: str, set_: str) -> None:
    rows = RLHFDataset(
        str(exports / name / "data"), processor.tokenizer, processor, prompt_key="problem",
        max_prompt_length=2048, min_pixels=784, max_pixels=4194304, filter_overlong_prompts=True,
        filter_overlong_prompts_workers=1,
    )  # fmt: skip
    plain = load_dataset(str(exports / name), split="train")
    assert len(rows) == len(plain)
    batch = collate_fn([rows[0], rows[1]])
    pictures = places = 0
    pad = processor.tokenizer.convert_tokens_to_ids("<|vision_start|>")
    for n in range(len(rows)):
        sample = rows[n]
        pictures += len(sample["multi_modal_data"]["images"])
        places += int((sample["input_ids"] == pad).sum())
    first = [process_image(image, 784, 4194304) for image in rows[0]["multi_modal_data"]["images"]]
    made = processor(images=first, text=["<|image_pad|>" * len(first)], return_tensors="pt")
    count, tokens = matches(rows[0]["input_ids"], made["image_grid_thw"], processor)
    assert list(batch["ground_truth"]) == [row["answer"] for row in plain.select([0, 1])]
    tell(
        Finding(
            name, "RLHFDataset, collate_fn", len(rows), pictures, places,
            f"2 rows; the first has {count} pictures, {tokens} picture tokens",
            same(first, truth(exports, set_)),
        )
    )  # fmt: skip


check("easyr1-rl", "rl")
