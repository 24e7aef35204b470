"""The tiny models and their tokenizer, the scorer, and which weights are trained."""

import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from pipeline import models, protocol
from pipeline.rollout import retrace
from pipeline.types import Modality
from tests.trainers.conftest import NAMES, TURNS, Small, problem_of, solved
from trainers import tiny
from trainers.encode import Batch, batch, encode
from trainers.losses import sft_loss
from trainers.model import Scorer, Tuning, save, tuned, whole

TEXTS = ["Which animal is on the left?", "The cat is on the left of the dog, 3 cm from it."]


def example_batch(small: Small, side: str = "right", rows: int = 3) -> Batch:
    """Rows of different lengths, with pictures of different sizes and numbers."""
    examples = []
    for n, modality in enumerate(list(Modality)[:rows]):
        problem = problem_of(modality, small.family, n)
        state = retrace(problem, solved(problem, small.family, draws=1 + n % 2))
        examples.append(encode(state, small.words, small.family, TURNS, 4096, sampled=False))
    return batch(examples, small.words, small.processor, side)  # type: ignore[arg-type]


def grads(model: Any, made: Batch) -> dict[str, torch.Tensor]:
    logprobs, _ = Scorer(model)(made.inputs, made.mask)
    sft_loss(logprobs, made.mask, rows=len(made.mask)).backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


# The tiny models ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_tiny_model_has_a_few_million_parameters(name: str) -> None:
    processor = tiny.build_processor(name, TEXTS)
    model = tiny.build_tiny(name, processor, seed=0)
    assert 2e6 < sum(p.numel() for p in model.parameters()) < 5e6


def test_a_tiny_model_is_made_for_the_family_and_the_words_of_an_export(
    exported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["tiny", exported, str(tmp_path / "blank")])
    tiny.main()
    made = models.load_model(str(tmp_path / "blank"))
    assert models.family_name(made.config.model_type) == "qwen2.5-vl"
    tokenizer = models.load_processor(str(tmp_path / "blank")).tokenizer
    assert made.get_input_embeddings().num_embeddings == len(tokenizer)
    assert (
        len(tokenizer.encode("Which animal is on the left?")) <= 8
    )  # its words, and a question mark


def test_a_tiny_model_for_no_export_is_one_line_and_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tiny", str(tmp_path / "none"), str(tmp_path / "blank")])
    with pytest.raises(SystemExit) as ended:
        tiny.main()
    assert ended.value.code == 2
    assert "none has no manifest.json" in capsys.readouterr().err


def test_a_saved_model_is_one_that_transformers_loads_and_computes_the_same(
    small: Small, tmp_path: Path
) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model, made = small.load(), example_batch(small)
    save(model, small.processor, tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert type(again) is type(model)
    with torch.no_grad():
        assert torch.equal(model(**made.inputs).logits, again(**made.inputs).logits)
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert type(processor) is type(small.processor)
    assert processor.chat_template == small.processor.chat_template
    text = protocol.SYSTEM + "<|im_end|> é 7 1000 1001"
    assert processor.tokenizer.encode(text) == small.processor.tokenizer.encode(text)


def test_the_same_seed_gives_the_same_model_and_another_another(one: Small) -> None:
    first, second, third = (
        tiny.build_tiny(one.name, one.processor, seed).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], third[name]) for name in first)


def test_a_model_ends_its_turns_and_is_never_asked_to_stop_elsewhere(small: Small) -> None:
    settings = small.load().generation_config
    assert (settings.eos_token_id, settings.pad_token_id) == (small.words.end, small.words.pad)


def test_near_numbers_begin_near_each_other(one: Small) -> None:
    rows = tiny.build_tiny(one.name, one.processor, seed=3).get_input_embeddings().weight.detach()
    ids = [one.words.write(str(n))[0] for n in range(1001)]
    near = torch.nn.functional.cosine_similarity(rows[ids[:-1]], rows[ids[1:]])
    far = torch.nn.functional.cosine_similarity(rows[ids[:500]], rows[ids[500:1000]])
    assert near.min() > 0.5 > far.mean()
    assert 0.5 < rows[ids].std() / rows.std() < 2  # as large as all others


def test_whole_numbers_up_to_a_thousand_are_single_tokens(one: Small) -> None:
    ids = [one.words.write(str(n)) for n in range(1001)]
    assert all(len(own) == 1 for own in ids)
    assert len(set(ids)) == 1001
    assert one.words.write('"bbox_2d": [17, 204]')[-4:-1] == (
        *one.words.write("17"),
        *one.words.write(", "),
        *one.words.write("204"),
    )


def test_the_protocols_standing_phrases_are_single_tokens(one: Small) -> None:
    for phrase in tiny.phrases():
        assert len(one.words.write(phrase)) == 1, phrase


@given(text=st.one_of(st.text(max_size=60), st.lists(st.sampled_from(
    [*tiny.phrases(), *tiny.SPECIAL, "0", "17", "1000", "1001", "007", " ", "é", "系", "🐈", "\n\n"]
)).map("".join)))  # fmt: skip
def test_what_is_written_is_read_back(text: str, smalls: dict[str, Small]) -> None:
    """Up to Unicode's composed form, to which the Qwen tokenizers bring a text."""
    one = smalls["qwen2.5-vl"]
    text = unicodedata.normalize("NFC", text)
    ids = one.words.write(text)
    assert one.processor.tokenizer.decode(ids) == text
    special = {one.words.end, one.words.start, *one.words.vision, one.words.pad}
    assert not special & set(ids)


# Scoring -----------------------------------------------------------------------------------------


def test_log_probabilities_are_those_of_the_whole_models_own_logits(small: Small) -> None:
    model, made = small.load(), example_batch(small)
    with torch.no_grad():
        logprobs, entropies = Scorer(model)(made.inputs, made.mask, entropies=True)
        logits = model(**made.inputs).logits[:, :-1]
    ids = made.inputs["input_ids"][:, 1:]
    theirs = -torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids, reduction="none")
    wanted = made.mask[:, 1:]
    torch.testing.assert_close(logprobs[:, 1:][wanted], theirs[wanted], rtol=1e-5, atol=1e-5)
    assert not logprobs[~made.mask].any()
    spread = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(entropies[:, 1:][wanted], spread[wanted], rtol=1e-5, atol=1e-5)


def test_padding_on_either_side_and_none_give_the_same_log_probabilities(small: Small) -> None:
    """In one batch with pictures of different sizes, or each row by itself."""
    scorer = Scorer(small.load())
    with torch.no_grad():
        scores = {}
        for side in ("left", "right"):
            made = example_batch(small, side)
            logprobs, _ = scorer(made.inputs, made.mask)
            scores[side] = [row[own] for row, own in zip(logprobs, made.mask, strict=True)]
        for n, modality in enumerate(Modality):
            problem = problem_of(modality, small.family, n)
            state = retrace(problem, solved(problem, small.family, draws=1 + n % 2))
            words, family = small.words, small.family
            single = encode(state, words, family, TURNS, 4096, sampled=False)
            alone = batch([single], words, small.processor)
            assert bool(alone.inputs["attention_mask"].all())
            logprobs, _ = scorer(alone.inputs, alone.mask)
            for side in ("left", "right"):
                torch.testing.assert_close(
                    scores[side][n], logprobs[alone.mask], rtol=1e-5, atol=1e-5
                )


def test_four_micro_batches_are_one_batch(small: Small) -> None:
    """The same loss and the same gradient of every weight, though rows differ in length."""
    told = []
    for n in range(8):
        problem = problem_of(list(Modality)[n % 3], small.family, n)
        state = retrace(problem, solved(problem, small.family, draws=1 + n % 2))
        told.append(encode(state, small.words, small.family, TURNS, 4096, sampled=False))
    losses, gradients = [], []
    for size in (8, 2):
        scorer, loss = Scorer(small.load()), 0.0
        for start in range(0, 8, size):
            made = batch(told[start : start + size], small.words, small.processor)
            part = sft_loss(scorer(made.inputs, made.mask)[0], made.mask, rows=8)
            part.backward()
            loss += float(part.detach())
        losses.append(loss)
        gradients.append({name: p.grad for name, p in scorer.named_parameters()})
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    for name, grad in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], grad, rtol=1e-4, atol=1e-7, msg=name)


def test_what_comes_after_a_token_does_not_change_its_log_probability(small: Small) -> None:
    scorer, made = Scorer(small.load()), example_batch(small, rows=1)
    ids = made.inputs["input_ids"].clone()
    ids[0, -1] = small.words.write("7")[0]
    with torch.no_grad():
        before, _ = scorer(made.inputs, made.mask)
        after, _ = scorer({**made.inputs, "input_ids": ids}, made.mask)
    assert torch.equal(before[0, :-1], after[0, :-1])
    assert before[0, -1] != after[0, -1]


def test_the_pictures_pixels_matter(small: Small) -> None:
    scorer, made = Scorer(small.load()), example_batch(small, rows=1)
    darker = {**made.inputs, "pixel_values": made.inputs["pixel_values"] - 0.5}
    with torch.no_grad():
        assert not torch.equal(scorer(made.inputs, made.mask)[0], scorer(darker, made.mask)[0])


# Tuning ------------------------------------------------------------------------------------------


def test_freezing_leaves_the_vision_tower_or_the_projector_alone(small: Small) -> None:
    def trained(tuning: Tuning) -> set[str]:
        model = tuned(small.load(), tuning)
        return {name for name, weight in model.named_parameters() if weight.requires_grad}

    everything = trained(Tuning())
    vision = {name for name in everything if ".visual." in name}
    projector = {name for name in vision if "merger" in name}
    tower = vision - projector
    assert everything == {name for name, _ in small.load().named_parameters()}
    assert projector
    assert tower
    assert trained(Tuning(freeze_vision=True)) == everything - tower
    assert trained(Tuning(freeze_projector=True)) == everything - projector
    assert trained(Tuning(freeze_vision=True, freeze_projector=True)) == everything - vision


@pytest.mark.parametrize("frozen", [False, True])
def test_with_a_rank_only_adapters_are_trained(frozen: bool, small: Small) -> None:
    tuning = Tuning(lora_rank=2, freeze_vision=frozen, freeze_projector=frozen)
    model = tuned(small.load(), tuning)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    assert any(".visual." in name for name in trained) is not frozen
    assert any("language_model" in name and "q_proj" in name for name in trained)
    assert not any("lm_head" in name or "embed" in name for name in trained)


def test_fresh_adapters_change_nothing_and_trained_ones_are_merged(
    small: Small, tmp_path: Path
) -> None:
    plain, made = small.load(), example_batch(small)
    model = tuned(small.load(), Tuning(lora_rank=2))
    with torch.no_grad():
        before, _ = Scorer(plain)(made.inputs, made.mask)
        torch.testing.assert_close(Scorer(model)(made.inputs, made.mask)[0], before)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.add_(0.1)
        bent, _ = Scorer(model)(made.inputs, made.mask)
        assert not torch.allclose(bent, before, atol=1e-3)
        merged = whole(model)
        save(merged, small.processor, tmp_path)
        again, _ = Scorer(models.load_model(str(tmp_path)))(made.inputs, made.mask)
        torch.testing.assert_close(again, bent, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(Scorer(merged)(made.inputs, made.mask)[0], again)


@pytest.mark.parametrize("rank", [0, 2])
def test_checkpointed_gradients_are_the_same_and_layers_are_computed_twice(
    rank: int, small: Small
) -> None:
    made, runs = example_batch(small), []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = tuned(small.load(), Tuning(lora_rank=rank, gradient_checkpointing=checkpointing))
        layers = [m for name, m in model.named_modules() if name.endswith("layers.0.mlp")]
        passes: list[int] = []
        layers[0].register_forward_pre_hook(lambda *_, passes=passes: passes.append(1))
        runs.append((grads(model, made), len(passes)))
    (plain, once), (checkpointed, twice) = runs
    assert (once, twice) == (1, 2)
    assert plain.keys() == checkpointed.keys()
    for name, grad in plain.items():
        torch.testing.assert_close(checkpointed[name], grad, msg=name)


def test_no_checkpoint_a_cut_one_and_one_that_lacks_weights_are_os_errors(
    one: Small, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match=f"{tmp_path} is no whole checkpoint"):
        models.load_model(str(tmp_path))
    save(one.load(), one.processor, tmp_path)
    path = tmp_path / "model.safetensors"
    whole_file = path.read_bytes()
    path.write_bytes(whole_file[: len(whole_file) // 2])
    with pytest.raises(OSError, match=f"{tmp_path} is no whole checkpoint"):
        models.load_model(str(tmp_path))
    kept = load_file(one.folder / "model.safetensors")
    del kept[next(name for name in kept if name.endswith("layers.0.input_layernorm.weight"))]
    save_file(kept, path, {"format": "pt"})
    with pytest.raises(OSError, match=r"it lacks \S+layers.0.input_layernorm.weight"):
        models.load_model(str(tmp_path))
