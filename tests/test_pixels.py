"""Pictures as a model takes them in, against the processors that the families come with."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import canvas, models, pixels, tokens
from pipeline.images import decode
from pipeline.models import GridMismatch
from pipeline.protocol import FAMILIES
from pipeline.rollout import retrace
from pipeline.types import Modality
from tests.trainers.conftest import TURNS, Small, noise, problem_of, solved
from trainers.tiny import build_tokenizer

SIZES = [(2, 2), (5, 3), (3, 5), (4, 4), (2, 7)]  # patches across and down


def test_pictures_of_all_sizes_become_the_patches_that_the_processor_makes_of_each(
    small: Small,
) -> None:
    pictures = [decode(noise(n, *size, small.family)) for n, size in enumerate(SIZES)]
    rows = [(small.words.start, small.words.picture), (small.words.start,)]
    made = pixels.collate(rows, pictures, small.words, small.processor, "right")
    alone = [
        small.processor.image_processor([p], return_tensors="pt", input_data_format="channels_last")
        for p in pictures
    ]
    assert torch.equal(made["pixel_values"], torch.cat([one["pixel_values"] for one in alone]))
    assert torch.equal(made["image_grid_thw"], torch.cat([one["image_grid_thw"] for one in alone]))
    assert made["image_grid_thw"].tolist() == [[1, 2 * down, 2 * across] for across, down in SIZES]


def test_patches_hold_the_very_pixels_of_the_picture(small: Small) -> None:
    picture = decode(noise(3, 2, 2, small.family))
    made = pixels.collate([(small.words.picture,)], [picture], small.words, small.processor, "left")
    first = made["pixel_values"][0].reshape(3, 2, small.family.unit // 2, small.family.unit // 2)
    images = small.processor.image_processor
    mean, std = (np.array(v)[:, None, None] for v in (images.image_mean, images.image_std))
    shown = first[:, 0].numpy() * std + mean
    corner = picture[: small.family.unit // 2, : small.family.unit // 2].transpose(2, 0, 1) / 255
    assert np.allclose(shown, corner, atol=1e-6)
    assert torch.equal(first[:, 0], first[:, 1])  # a picture is a film of two like frames


def test_a_picture_is_never_resized_however_small_or_large(small: Small) -> None:
    images = small.processor.image_processor
    least, most = images.size["shortest_edge"], images.size["longest_edge"]
    across = most // small.family.unit**2 // 4 + 1
    sizes = [(1, 1), (across, 5)]
    pictures = [decode(noise(n, *size, small.family)) for n, size in enumerate(sizes)]
    assert pictures[0][..., 0].size < least
    assert pictures[1][..., 0].size > most
    made = pixels.collate([(small.words.picture,)], pictures, small.words, small.processor, "left")
    assert made["image_grid_thw"].tolist() == [[1, 2, 2], [1, 10, 2 * across]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_are_padded_on_the_side_that_is_asked_for(side: str, one: Small) -> None:
    words = one.words
    long, short = (5, words.picture_start, words.picture, words.picture_end), (7, 8)
    picture = decode(noise(0, 1, 1, one.family))
    made = pixels.collate([long, short], [picture], words, one.processor, side)  # type: ignore[arg-type]
    gap = [words.pad, words.pad]
    assert made["input_ids"][0].tolist() == list(long)
    assert made["input_ids"][1].tolist() == ([*gap, 7, 8] if side == "left" else [7, 8, *gap])
    assert made["attention_mask"][1].tolist() == ([0, 0, 1, 1] if side == "left" else [1, 1, 0, 0])
    assert made["mm_token_type_ids"].tolist() == [[0, 0, 1, 0], [0, 0, 0, 0]]


def test_drawings_are_seen_as_they_are_drawn(small: Small) -> None:
    problem = problem_of(Modality.VIEWS, small.family)
    state = retrace(problem, solved(problem, small.family, draws=2))
    shown = tokens.told(state, small.words, small.family, TURNS, sampled=False)
    drawn = pixels.drawn(state, shown.pictures)
    assert len(drawn) == 5
    for image, picture in zip(problem.images, drawn, strict=False):
        assert np.array_equal(decode(image), picture)
    for view, picture in zip(state.views[3:], drawn[3:], strict=True):
        assert np.array_equal(decode(canvas.picture(problem, view)), picture)
        assert not np.array_equal(decode(problem.images[view.base - 1]), picture)


def test_families_are_known_by_their_models_type(small: Small) -> None:
    config = small.load().config
    assert FAMILIES[models.family_name(config.model_type)] == small.family


def test_a_model_of_no_known_family_is_refused_by_name() -> None:
    with pytest.raises(
        GridMismatch, match=r"type 'llava'; known are qwen2_5_vl, qwen2_vl, qwen3_vl"
    ):
        models.family_name("llava")


def test_a_processor_on_another_grid_is_refused_with_both_units(smalls: dict[str, Small]) -> None:
    two, three = smalls["qwen2.5-vl"], smalls["qwen3-vl"]
    models.check_grid(two.processor, two.family)
    with pytest.raises(GridMismatch, match=r"grid of 28 px \(qwen2.5-vl\).* patches of 32 px"):
        models.check_grid(three.processor, two.family)


def test_a_folder_without_a_processor_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="has no processor"):
        models.load_processor(str(tmp_path))


def test_a_lone_tokenizer_is_no_processor(tmp_path: Path) -> None:
    build_tokenizer(["cat and dog"]).save_pretrained(tmp_path)
    with pytest.raises(OSError, match="no processor of pictures"):
        models.load_processor(str(tmp_path))
