"""The tiny models: real ones of their families, a few million parameters large, in standard form.

Their tokenizer is a byte-level BPE of its own with two additions that make short work of this
protocol: whole numbers up to 1000 and the protocol's standing phrases are one token each. Text is
still read and written exactly; a phrase that changes is only spelt in more tokens.

    python -m trainers.tiny EXPORT... FOLDER     an untrained model, its words learnt from exports
"""

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline import grammar, models, protocol
from pipeline.protocol import FAMILIES
from trainers.exported import WrongData, trajectories
from trainers.model import save

MERGES = 900  # of the BPE: most words of the tasks become one token
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part.type == 'text' %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INITIAL = 0.05  # s.d. of weights: about 0.6 / √hidden_size, as 0.02 is for the published sizes
TEXT: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 8192,
    "initializer_range": INITIAL,
    "tie_word_embeddings": True,
}
VISION: dict[str, Any] = {
    "depth": 3,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_heads": 4,
    "out_hidden_size": TEXT["hidden_size"],
    "initializer_range": INITIAL,
}
NUMBERS = 1001  # from 0, each a token
SHORTEST, LONGEST, WAVES = 6.0, 1200.0, 32  # wavelengths that tell numbers apart
# Positions of a picture's tokens differ by few steps: height and width get frequencies that tell them
# apart (the published split leaves width the lowest ones, too slow to see in a model this small).
ROPE = {"rope_type": "default", "rope_theta": 1000.0, "mrope_section": [1, 2, 13]}
ROPE3 = {**ROPE, "mrope_section": [6, 5, 5], "mrope_interleaved": True}


def phrases() -> list[str]:
    """The protocol's standing phrases, as it writes them."""
    frames = [protocol.SYSTEM.format(coordinates=frame) for frame in protocol.FRAMES.values()]
    shown = ["\nThis is picture ", " (width ", ", height ", ").\n", protocol.CHOOSE]
    shown += [protocol.MEASURE, protocol.GO_ON, protocol.LAST]
    head = "</think> Action: "
    tools = [f"{head}{t}\n```json\n[" for t in (grammar.BOX_TOOL, grammar.LINE_TOOL)]
    roles = ["system\n", "user\n", "assistant\n"]
    told = ["<think> ", *tools, f"{head}{grammar.ANSWER}\n<answer> ", " </answer>"]
    ops = ['{"index": ', ', "bbox_2d": [', ', "start_point_2d": [', '], "end_point_2d": [']
    ops += ['], "label": "', '"},\n {"index": ', '"}]\n```', ", "]
    return [*frames, *shown, *roles, *told, *ops]


def build_tokenizer(texts: Iterable[str]) -> Any:
    """A byte-level BPE learnt from ``texts``, with numbers and standing phrases as tokens."""
    from tokenizers import AddedToken, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer

    blank = Qwen2Tokenizer()
    learner = blank._tokenizer
    known = sorted(phrases(), key=len, reverse=True)

    def bare(text: str) -> str:
        for phrase in known:
            text = text.replace(phrase, "\n")
        return text

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + MERGES, initial_alphabet=alphabet, show_progress=False
    )
    learner.train_from_iterator(map(bare, texts), trainer)
    learnt = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) for pair in learnt["merges"]]
    tokenizer = Qwen2Tokenizer(vocab=learnt["vocab"], merges=merges, model_max_length=8192)
    tokenizer.add_tokens([AddedToken(str(n), normalized=False) for n in range(NUMBERS)])
    tokenizer.add_tokens([AddedToken(phrase, normalized=False) for phrase in known])
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    return tokenizer


def build_processor(family: str, texts: Iterable[str]) -> Any:
    """A processor of the family's own class around a new tokenizer; it never resizes below 56 px."""
    models.declare_vision_operators()
    from transformers import (
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    tokenizer = build_tokenizer(texts)
    patch = FAMILIES[family].unit // 2
    size = {"shortest_edge": 56 * 56, "longest_edge": 448 * (2 * patch) ** 2}
    images = Qwen2VLImageProcessor(size=size, patch_size=patch, merge_size=2)
    if family == "qwen3-vl":
        return Qwen3VLProcessor(images, tokenizer, Qwen3VLVideoProcessor(), TEMPLATE)
    return Qwen2_5_VLProcessor(images, tokenizer, Qwen2VLVideoProcessor(), TEMPLATE)


def build_tiny(family: str, processor: Any, seed: int) -> Any:
    """An untrained model of the family, about four million parameters, for the processor's ids."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
    )

    ids = processor.tokenizer.get_vocab()
    tokens = {
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    text = {**TEXT, **tokens, "vocab_size": len(processor.tokenizer), "rope_parameters": ROPE}
    every = {
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "tie_word_embeddings": True,
    }
    torch.manual_seed(seed)
    if family == "qwen3-vl":
        text |= {"head_dim": 32, "rope_parameters": ROPE3}
        vision = {**VISION, "deepstack_visual_indexes": [1], "num_position_embeddings": 256}
        config3 = Qwen3VLConfig(text_config=text, vision_config=vision, **every)
        return _made(Qwen3VLForConditionalGeneration(config3), processor, tokens)
    # Every block sees the whole picture: a window would hold most of a small one anyway.
    vision = {**VISION, "fullatt_block_indexes": list(range(VISION["depth"]))}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **every)
    return _made(Qwen2_5_VLForConditionalGeneration(config), processor, tokens)


def _made(model: Any, processor: Any, tokens: dict[str, int]) -> Any:
    for name, value in tokens.items():
        setattr(model.generation_config, name, value)
    ids = processor.tokenizer.convert_tokens_to_ids([str(n) for n in range(NUMBERS)])
    with torch.no_grad():
        _order(model.get_input_embeddings().weight, torch.tensor(ids))
    return model


def _order(embeddings: torch.Tensor, numbers: torch.Tensor) -> None:
    """Gives near numbers near embeddings: sines of many wavelengths, mixed at random.

    Else each coordinate is a word of its own, and its neighbours' examples teach nothing of it.
    """
    periods = torch.logspace(math.log10(SHORTEST), math.log10(LONGEST), WAVES)
    angles = 2 * math.pi * torch.arange(len(numbers))[:, None] / periods
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    mixed = waves @ torch.randn(2 * WAVES, embeddings.shape[1]) / math.sqrt(WAVES)
    embeddings[numbers] = INITIAL * mixed + 0.1 * embeddings[numbers]


def texts(folders: Sequence[str]) -> Iterator[str]:
    """All that the trajectories of exports show and say, short of pictures."""
    for folder in folders:
        for state, family, max_turns in trajectories(folder):
            for message in protocol.render(state, FAMILIES[family], max_turns):
                yield from (part for part in message.parts if isinstance(part, str))


def main() -> None:
    parser = argparse.ArgumentParser(
        description="An untrained tiny model for the texts of exports."
    )
    parser.add_argument(
        "exports", nargs="+", help="folders of exports, whose family the model will be of"
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        _, family, _ = next(trajectories(given.exports[0]))
        processor = build_processor(family, texts(given.exports))
        save(build_tiny(family, processor, given.seed), processor, given.out)
    except (WrongData, OSError) as error:
        print(f"tiny: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
