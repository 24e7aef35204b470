"""TRL: its dataset handling and collator, one real step of SFTTrainer, one real step of GRPOTrainer."""

import tempfile
from pathlib import Path
from typing import Any

from found import Finding, arguments, matches, same, tell, truth

import trl
from datasets import load_dataset
from pipeline.models import load_model, load_processor
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

exports, model = arguments()
processor = load_processor(model)
templates = Path(trl.__file__).parent / "chat_templates"
processor.chat_template = (templates / "qwen2_5_vl.jinja").read_text()  # as the real model has it
processor.tokenizer.chat_template = processor.chat_template


def places(rows: Any, column: str) -> int:
    return sum(
        part["type"] == "image" for row in rows for m in row[column] for part in m["content"]
    )


def sft(name: str, set_: str) -> None:
    rows = load_dataset(str(exports / name), split="train")
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            load_model(model),
            SFTConfig(
                output_dir=folder, max_length=None, assistant_only_loss=True, max_steps=1,
                per_device_train_batch_size=2, report_to=[], use_cpu=True, bf16=False,
                gradient_checkpointing=False, save_strategy="no", disable_tqdm=True,
            ),
            train_dataset=rows,
            processing_class=processor,
        )  # fmt: skip
        batch = next(iter(trainer.get_train_dataloader()))
        pictures, tokens = matches(batch["input_ids"], batch["image_grid_thw"], processor)
        taught = int((batch["labels"] != -100).sum())
        assert taught > 0
        loss = trainer.train().training_loss
    tell(
        Finding(
            name, "SFTTrainer", len(rows), sum(len(row["images"]) for row in rows),
            places(rows, "messages"),
            f"2 rows, {pictures} pictures, {tokens} picture tokens, {taught} taught; "
            f"one step, loss {loss:.2f}",
            same(rows[0]["images"], truth(exports, set_)),
        )
    )  # fmt: skip


def grpo(name: str, set_: str) -> None:
    rows, seen = load_dataset(str(exports / name), split="train"), []

    def reward(completions: list[Any], answer: list[str], kind: list[str], **_: Any) -> list[float]:
        seen.extend(zip(answer, kind, strict=True))
        return [float(n % 2) for n in range(len(completions))]

    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=load_model(model),
            reward_funcs=reward,
            args=GRPOConfig(
                output_dir=folder, max_steps=1, per_device_train_batch_size=4, num_generations=4,
                max_completion_length=16, remove_unused_columns=False, report_to=[], use_cpu=True,
                bf16=False, gradient_checkpointing=False, save_strategy="no", disable_tqdm=True,
            ),
            train_dataset=rows,
            processing_class=processor,
        )  # fmt: skip
        loss = trainer.train().training_loss
    assert len(seen) == 4
    tell(
        Finding(
            name, "GRPOTrainer", len(rows), sum(len(row["images"]) for row in rows),
            places(rows, "prompt"),
            f"one step on 4 completions, loss {loss:.2g}; the reward saw `answer` and `kind`",
            same(rows[0]["images"], truth(exports, set_)),
        )
    )  # fmt: skip


sft("trl-sft-cold", "cold")
sft("trl-sft-reflective", "reflective")
grpo("trl-grpo-rl", "rl")
