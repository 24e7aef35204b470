"""The mask covers what the model wrote, and nothing else; what does not fit is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import canvas, tokens
from pipeline.images import decode
from pipeline.rollout import Limits, advance, read_turn, retrace
from pipeline.types import Modality, Problem, State, Trajectory
from tests.trainers.conftest import TURNS, Small, problem_of, solved
from trainers.encode import Example, TooLong, batch, encode


def encoded(state: State, small: Small, *, most: int = 4096, sampled: bool = False) -> Example:
    return encode(state, small.words, small.family, TURNS, most, sampled=sampled)


def told(small: Small) -> list[tuple[Problem, Trajectory]]:
    """One picture, three views and four frames, with one, two and three drawings."""
    problems = [problem_of(modality, small.family) for modality in Modality]
    return [(p, solved(p, small.family, draws=n)) for n, p in enumerate(problems, start=1)]


def runs(mask: list[bool], ids: list[int]) -> list[list[int]]:
    """The ids of each stretch of masked tokens."""
    found: list[list[int]] = []
    for before, now, token in zip([False, *mask], mask, ids, strict=False):
        if now and not before:
            found.append([])
        if now:
            found[-1].append(token)
    return found


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_mask_covers_exactly_the_models_text_and_the_end_of_each_turn(
    side: Any, small: Small
) -> None:
    rows = told(small)
    examples = [encoded(retrace(*row), small) for row in rows]
    made = batch(examples, small.words, small.processor, side)
    assert made.mask.dtype == torch.bool
    for (_, trajectory), ids, mask in zip(
        rows, made.inputs["input_ids"].tolist(), made.mask.tolist(), strict=True
    ):
        stretches = runs(mask, ids)
        assert [own[-1] for own in stretches] == [small.words.end] * len(trajectory.turns)
        said = [small.processor.tokenizer.decode(own[:-1]) for own in stretches]
        assert said == [turn.text for turn in trajectory.turns]
    shown = made.inputs["attention_mask"].bool()
    assert not (made.mask & ~shown).any()
    assert not (made.mask & (made.inputs["input_ids"] == small.words.picture)).any()
    assert [e.model_tokens for e in examples] == made.mask.sum(1).tolist()


def test_the_first_token_of_a_row_is_never_the_models(small: Small) -> None:
    """There is nothing that it could be predicted from."""
    examples = [encoded(retrace(*row), small) for row in told(small)]
    assert not batch(examples, small.words, small.processor).mask[:, 0].any()


def test_a_row_has_the_pictures_that_it_names_in_their_order(small: Small) -> None:
    for problem, trajectory in told(small):
        state = retrace(problem, trajectory)
        example = encoded(state, small)
        views = [canvas.picture(problem, view) for view in state.views]
        assert len(example.pictures) == len(views)
        for picture, view in zip(example.pictures, views, strict=True):
            assert np.array_equal(picture, decode(view))


def test_a_batch_has_a_place_for_every_patch_of_every_row(small: Small) -> None:
    examples = [encoded(retrace(*row), small) for row in told(small)]
    made = batch(examples, small.words, small.processor)
    grids, at = made.inputs["image_grid_thw"].prod(1) // 4, 0
    for example, ids in zip(examples, made.inputs["input_ids"], strict=True):
        own = grids[at : at + len(example.pictures)]
        assert int((ids == small.words.picture).sum()) == int(own.sum())
        at += len(example.pictures)
    assert at == len(grids)


def test_a_trajectory_that_does_not_fit_is_refused_whole_with_its_length(one: Small) -> None:
    state = retrace(*told(one)[2])
    length = len(encoded(state, one).ids)
    assert len(encoded(state, one, most=length).ids) == length
    with pytest.raises(TooLong, match=f"{length} tokens, at most {length - 1} fit") as refused:
        encoded(state, one, most=length - 1)
    assert refused.value.length == length


def test_turns_are_trained_on_as_they_were_sampled(one: Small) -> None:
    state = retrace(*told(one)[0])
    spelt = tuple(
        (*(i for sign in turn.text for i in one.words.write(sign)), one.words.end)
        for turn in state.turns
    )
    turns = tuple(replace(turn, ids=ids) for turn, ids in zip(state.turns, spelt, strict=True))
    example = encoded(replace(state, turns=turns), one, sampled=True)
    assert [example.ids[slice(*span)] for span in example.spans] == list(spelt)
    assert example.model_tokens > encoded(state, one).model_tokens


def test_sampled_turns_without_ids_are_an_error_not_a_guess(one: Small) -> None:
    with pytest.raises(ValueError, match="without the ids it was sampled as"):
        encoded(retrace(*told(one)[0]), one, sampled=True)


def test_a_turn_that_its_limit_cut_off_has_no_end_in_the_mask(one: Small) -> None:
    problem = problem_of(Modality.IMAGE, one.family)
    opened, text = canvas.opened(problem), "<think> I never get to"
    ids = one.words.write(text)
    cut = read_turn(opened, text, one.family, truncated=True, ids=ids)
    state = advance(opened, cut, Limits(max_turns=TURNS, tell_faults=True), one.family)
    assert isinstance(state, State)
    answer = solved(problem, one.family).turns[-1]
    answer = replace(answer, ids=tokens.turn_ids(answer, one.words, sampled=False))
    done = advance(state, answer, Limits(max_turns=TURNS), one.family)
    assert isinstance(done, Trajectory)
    made = batch([encoded(retrace(problem, done), one, sampled=True)], one.words, one.processor)
    row = made.inputs["input_ids"][0].tolist()
    assert [tuple(own) for own in runs(made.mask[0].tolist(), row)] == [ids, answer.ids]


def test_a_batch_moves_with_its_mask(one: Small) -> None:
    made = batch([encoded(retrace(*told(one)[0]), one)], one.words, one.processor)
    moved = made.to(torch.device("meta"))
    assert {t.device.type for t in (*moved.inputs.values(), moved.mask)} == {"meta"}
