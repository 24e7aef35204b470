"""vLLM beside transformers on the same checkpoint and prompts: ids, log-probabilities, caches."""

import asyncio
import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline import canvas, models, tokens
from pipeline.policies import Engine
from pipeline.rollout import Limits, advance, read_turn, retrace
from pipeline.teachers.local import Local, Sampling, loaded
from pipeline.teachers.vllm import PromptMismatch, Vllm
from pipeline.types import Modality, PolicyError, Problem, State, Stop, Trajectory, Turn
from tests.trainers.conftest import problem_of
from tests.vllm.conftest import BASE, GREEDY, LIMITS, rolled
from trainers.encode import batch, encode
from trainers.model import Scorer

NEAR = 1e-4  # by how much log-probabilities may differ
TIE = 1e-3  # of two ids that are as likely as each other, within rounding


def own(run: Trajectory) -> list[Any]:
    return [(turn.ids, turn.parsed) for turn in run.turns]


def under_transformers(run: Trajectory, problem: Problem, scorer: Scorer, policy: Vllm) -> Any:
    """(T,) log-probabilities of all that was sampled in a trajectory."""
    most = LIMITS.turns(problem)
    state = retrace(problem, run)
    example = encode(state, policy.words, policy.family, most, 10_000, sampled=True)
    one = batch([example], policy.words, policy.processor)
    with torch.no_grad():
        return scorer(one.inputs, one.mask)[0][one.mask]


def test_greedy_trajectories_are_those_of_transformers_up_to_ties(
    policy: Vllm, local: Local, asked: list[Problem]
) -> None:
    ours, theirs = rolled(policy, asked, policy.words), rolled(local, asked, policy.words)
    pairs = [*zip(ours, theirs, strict=True)]
    differing = [n for n, (a, b) in enumerate(pairs) if own(a) != own(b)]
    count = sum(len(turn.ids or ()) for run in ours for turn in run.turns)
    print(f"\n{count} greedy ids, {len(differing)} of {len(pairs)} trajectories differ")
    for n in differing:  # where they part, both ids must be as likely
        turns = zip(ours[n].turns, theirs[n].turns, strict=False)
        a, b = next((a, b) for a, b in turns if a.ids != b.ids)
        at = next(
            k for k, (x, y) in enumerate(zip(a.ids or (), b.ids or (), strict=False)) if x != y
        )
        assert abs((a.logprobs or ())[at] - (b.logprobs or ())[at]) < TIE
    assert len(differing) <= 1
    assert sum(len(run.turns) > 1 for run in ours) >= 6  # with drawings in between
    furthest = max(
        abs(p - q)
        for n, (a, b) in enumerate(pairs)
        if n not in differing
        for s, t in zip(a.turns, b.turns, strict=True)
        for p, q in zip(s.logprobs or (), t.logprobs or (), strict=True)
    )
    print(f"log-probabilities differ by {furthest:.1e} at most")
    assert furthest < NEAR


def test_log_probabilities_are_those_before_top_p_at_the_temperature_without_vision_ids(
    policy: Vllm, local: Local, asked: list[Problem]
) -> None:
    policy.sample_as(Sampling(0.75, 0.9, 120, seed=5))
    scorer = Scorer(local.model, policy.words.vision, 0.75)
    furthest = 0.0
    for run, problem in zip(rolled(policy, asked, policy.words), asked, strict=True):
        said = torch.tensor([p for turn in run.turns for p in turn.logprobs or ()])
        wanted = under_transformers(run, problem, scorer, policy)
        furthest = max(furthest, float((said - wanted).abs().max()))
    print(f"\nlog-probabilities differ by {furthest:.1e} at most")
    assert furthest < NEAR


def walked(problem: Problem, policy: Vllm, texts: list[str]) -> State:
    """The state after turns of a model that said these texts."""
    now: State | Trajectory = canvas.opened(problem)
    for text in texts:
        assert isinstance(now, State)
        ids = (*policy.words.write(text), policy.words.end)
        turn = read_turn(now, text, policy.family, ids=ids, logprobs=(0.0,) * len(ids))
        now = advance(now, turn, LIMITS, policy.family)
    assert isinstance(now, State)
    return now


def drawing(*boxes: tuple[int, int]) -> str:
    """A turn that draws a box on each of some pictures: (index, place)."""
    ops = [{"index": k, "bbox_2d": [p, p, p + 30, p + 20], "label": f"cat {p}"} for k, p in boxes]
    return f"<think> There. </think> Action: Object Mapper\n```json\n{json.dumps(ops)}\n```"


def test_turns_after_observations_of_several_pictures_are_those_of_transformers(
    policy: Vllm, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = replace(GREEDY, max_tokens=12)
    policy.sample_as(few)
    monkeypatch.setattr(local, "sampling", few)
    for modality in Modality:
        problem = problem_of(modality, policy.family)
        last = len(problem.images)
        boxes = [(k, 4 + 6 * k) for k in range(1, last + 1)]
        texts = [drawing(*boxes), drawing((last + 1, 1)), drawing((1, 20))]
        for turns in range(len(texts) + 1):
            state = walked(problem, policy, texts[:turns])
            ours, theirs = (asyncio.run(p.act(state)) for p in (policy, local))
            assert ours.ids == theirs.ids
            assert ours.logprobs == pytest.approx(theirs.logprobs, abs=NEAR)
            assert ours.usage is not None
            assert ours.usage.pictures == len(state.views)


def test_prefixes_are_taken_from_the_cache_from_turn_to_turn(policy: Vllm) -> None:
    problem = problem_of(Modality.VIDEO, policy.family, 7)
    texts = [drawing((1, 4), (2, 9), (3, 14), (4, 19)), drawing((1, 50))]
    policy.sample_as(replace(GREEDY, max_tokens=4))
    used = []
    for turns in range(3):
        turn = asyncio.run(policy.act(walked(problem, policy, texts[:turns])))
        assert turn.usage is not None
        used.append(turn.usage)
    assert used[0].cached_tokens == 0
    for before, after in pairwise(used):
        # whole blocks of what was computed before, of 128 tokens on a CPU
        assert 0 < before.prompt_tokens - after.cached_tokens < 128
    print(
        f"\nof {used[2].prompt_tokens} tokens of the third prompt {used[2].cached_tokens} were cached"
    )


def test_a_picture_under_another_name_is_another_picture(policy: Vllm) -> None:
    policy.sample_as(replace(GREEDY, max_tokens=4))
    one, other = (problem_of(Modality.VIDEO, policy.family, n) for n in (1, 2))
    first, second = (asyncio.run(policy.act(canvas.opened(p))) for p in (one, other))
    assert first.logprobs != second.logprobs
    assert asyncio.run(policy.act(canvas.opened(other))).ids == second.ids


def changed(folder: Path, change: Any) -> Path:
    """The base with other weights, as a checkpoint."""
    shutil.copytree(BASE, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_other_weights_are_taken_whole_and_nothing_of_the_old_ones_is_kept(
    policy: Vllm, asked: list[Problem], tmp_path: Path
) -> None:
    def shake(weights: dict[str, Any]) -> None:
        random = torch.Generator().manual_seed(0)
        for weight in weights.values():
            noise = torch.randn(weight.shape, generator=random) * weight.float().std().nan_to_num(0)
            weight += (0.2 * noise).to(weight.dtype)

    before = rolled(policy, asked[:4], policy.words)
    other = changed(tmp_path / "other", shake)
    policy.load(other)
    ours = rolled(policy, asked[:4], policy.words)
    fresh = Local(loaded(str(other)), policy.processor, LIMITS, GREEDY)
    theirs = rolled(fresh, asked[:4], policy.words)
    assert [own(r) for r in ours] == [own(r) for r in theirs]
    assert [own(r) for r in ours] != [own(r) for r in before]
    for a, b in zip(ours, theirs, strict=True):
        for s, t in zip(a.turns, b.turns, strict=True):
            assert s.logprobs == pytest.approx(t.logprobs, abs=NEAR)
    policy.load(BASE)
    assert [own(r) for r in rolled(policy, asked[:4], policy.words)] == [own(r) for r in before]


def test_no_id_that_stands_for_a_picture_is_ever_sampled(
    policy: Vllm, asked: list[Problem], tmp_path: Path
) -> None:
    def tempt(weights: dict[str, Any]) -> None:
        (name,) = (n for n in weights if "lm_head" in n or "embed_tokens" in n)
        weights[name][list(policy.words.vision)] *= 500

    policy.load(changed(tmp_path / "tempted", tempt))
    for heat in (0.0, 1.0):
        policy.sample_as(Sampling(heat, 1.0, 8, seed=1))
        for run in rolled(policy, asked, policy.words):
            for turn in run.turns:
                assert turn.ids
                assert turn.logprobs
                assert not set(turn.ids) & set(policy.words.vision)
                assert min(turn.logprobs) > float("-inf")


def test_a_turn_that_hits_its_limit_is_truncated_and_keeps_its_ids(
    policy: Vllm, asked: list[Problem]
) -> None:
    policy.sample_as(replace(GREEDY, max_tokens=3))
    for run in rolled(policy, asked[:3], policy.words):
        assert (run.stop, len(run.turns)) == (Stop.TRUNCATED, 1)
        assert len(run.turns[0].ids or ()) == len(run.turns[0].logprobs or ()) == 3


def test_a_turn_has_a_stream_of_its_own(policy: Vllm, asked: list[Problem]) -> None:
    policy.sample_as(Sampling(2.0, 1.0, 16, seed=1))
    first = rolled(policy, asked[:3], policy.words, samples=3)
    assert [own(r) for r in rolled(policy, asked[:3], policy.words, samples=3)] == [
        own(r) for r in first
    ]
    assert len({run.turns[0].ids for run in first}) > 6  # samples of a problem differ
    policy.sample_as(Sampling(2.0, 1.0, 16, seed=2))
    other = rolled(policy, asked[:3], policy.words, samples=3)
    assert sum(own(a) == own(b) for a, b in zip(first, other, strict=True)) < 3


def test_more_prompts_than_vllm_reads_in_a_step_are_sampled_too(
    policy: Vllm, asked: list[Problem]
) -> None:
    """A prompt that is read in two parts would end the engine: see `_started`."""
    policy.sample_as(Sampling(1.0, 1.0, 4, seed=1))
    states = [canvas.opened(problem, sample) for problem in asked for sample in range(20)]

    async def at_once() -> list[Turn]:
        return await asyncio.gather(*(policy.act(state) for state in states))

    turns = asyncio.run(at_once())
    assert len({turn.ids for turn in turns}) > 20
    assert sum(turn.usage.prompt_tokens for turn in turns if turn.usage) > 8192


def test_a_turn_that_is_given_up_leaves_the_engine(policy: Vllm, asked: list[Problem]) -> None:
    async def give_up() -> int:
        tasks = [asyncio.create_task(policy.act(canvas.opened(p))) for p in asked]
        while not policy._engine.get_num_unfinished_requests():
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
        for _ in range(100):
            if not (left := policy._engine.get_num_unfinished_requests()):
                break
            await asyncio.sleep(0.05)
        return int(left)

    policy.sample_as(Sampling(1.0, 1.0, 120, seed=1))
    assert asyncio.run(give_up()) == 0
    assert rolled(policy, asked[:1], policy.words)  # and it answers others


def test_a_prompt_that_leaves_no_room_is_a_failure_that_says_so(
    policy: Vllm, asked: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "limits", Limits(max_context=20))
    with pytest.raises(PolicyError, match="of 20 in all"):
        asyncio.run(policy.act(canvas.opened(asked[0])))


def test_a_request_that_vllm_refuses_is_a_failure_in_its_words(policy: Vllm) -> None:
    problem = problem_of(Modality.VIDEO, policy.family)
    crowd = replace(problem, images=problem.images * 4)  # four times four, of twelve
    with pytest.raises(PolicyError, match=r"vLLM did not answer.*12"):
        asyncio.run(policy.act(canvas.opened(crowd)))


def test_a_picture_that_vllm_takes_for_another_size_is_told_loudly(policy: Vllm) -> None:
    class Narrow:
        prompt_token_ids = (1, 2, 3)

    state = canvas.opened(problem_of(Modality.IMAGE, policy.family))
    written = tokens.prompt(state, policy.words, policy.family, 4, sampled=True)
    with pytest.raises(PromptMismatch, match="3 tokens of a prompt of"):
        policy._turn(state, written, Narrow())


def test_a_processor_of_another_grid_is_refused_before_an_engine_starts(tmp_path: Path) -> None:
    folder = shutil.copytree(BASE, tmp_path / "other")
    path = folder / "processor_config.json"
    said = json.loads(path.read_text())
    said["image_processor"]["patch_size"] = 16
    path.write_text(json.dumps(said))
    with pytest.raises(models.GridMismatch, match="28 px"):
        Vllm(str(folder), LIMITS, GREEDY, engine=Engine())
