"""The transformers teacher: batching, streams, log-probabilities."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch

from pipeline import canvas, models, pixels, tokens
from pipeline.rollout import Limits, retrace, rollout
from pipeline.teachers import local
from pipeline.teachers.local import Local, Sampling
from pipeline.types import Failure, Modality, Problem, State, Trajectory
from tests.trainers.conftest import NAMES, Small, problem_of, solved
from trainers.encode import batch, encode
from trainers.model import Scorer

LIMITS = Limits(max_turns=4, task_turns=(), tell_faults=True)


def sampled(
    policy: Local, problems: list[Problem], samples: int = 2, limits: Limits = LIMITS
) -> list[Trajectory | Failure]:
    async def run() -> list[Trajectory | Failure]:
        count = tokens.counter(policy.words)
        return [
            done
            async for done in rollout(policy, problems, samples, limits, policy.family, 64, count)
        ]

    return asyncio.run(run())


def problems_of(small: Small) -> list[Problem]:
    return [problem_of(m, small.family, n) for n, m in enumerate(Modality)]


def policy_of(small: Small, batch: int = 64, **sampling: Any) -> Local:
    wanted = {"max_tokens": 12, "seed": 3} | sampling
    return Local(small.load(), small.processor, LIMITS, Sampling(**wanted), batch)


@pytest.mark.parametrize("name", NAMES)
def test_the_trainer_gives_what_was_sampled_the_log_probabilities_that_the_sampler_gave(
    smalls: dict[str, Small], name: str
) -> None:
    small = smalls[name]
    problems = problems_of(small)
    policy = policy_of(small)
    scorer = Scorer(policy.model, policy.words.vision)
    twice = [problem for problem in problems for _ in range(2)]  # two samples of one prompt
    for problem, run in zip(twice, sampled(policy, problems, 2), strict=True):
        assert isinstance(run, Trajectory)
        assert len(run.turns) == 4  # nonsense each, told and gone on from
        state = retrace(problem, run)
        example = encode(state, policy.words, policy.family, 4, 10_000, sampled=True)
        one = batch([example], policy.words, policy.processor)
        with torch.no_grad():
            ours, _ = scorer(one.inputs, one.mask)
        theirs = torch.tensor([p for turn in run.turns for p in turn.logprobs or ()])
        assert torch.allclose(ours[one.mask], theirs, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_log_probabilities_agree_over_turns_with_drawings_between_them(
    smalls: dict[str, Small], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = smalls[name]
    policy = policy_of(small, max_tokens=400)
    told = {p.id: solved(p, small.family, draws=2) for p in problems_of(small)}

    def follow(_: Any, __: float, scripts: Sequence[Any]) -> torch.Tensor:
        return torch.tensor([next(script) for script in scripts])

    def script(state: State) -> Any:
        turn = told[state.problem.id].turns[len(state.turns)]
        return iter(tokens.turn_ids(turn, policy.words, sampled=False))

    monkeypatch.setattr(local, "_sampled", follow)
    monkeypatch.setattr(policy, "_stream", script)
    problems = problems_of(small)
    runs = sampled(policy, problems, 1, Limits(max_turns=6))
    scorer = Scorer(policy.model, policy.words.vision)
    examples, theirs = [], []
    for problem, run in zip(problems, runs, strict=True):
        assert isinstance(run, Trajectory)
        assert [t.text for t in run.turns] == [t.text for t in told[problem.id].turns]
        state = retrace(problem, run)
        assert len(state.views) > len(problem.images)
        examples.append(encode(state, policy.words, policy.family, 4, 10_000, sampled=True))
        theirs.append(torch.tensor([p for turn in run.turns for p in turn.logprobs or ()]))
    together = batch(examples, policy.words, policy.processor)
    with torch.no_grad():
        ours, _ = scorer(together.inputs, together.mask)
    for row, mask, wanted in zip(ours, together.mask, theirs, strict=True):
        assert torch.allclose(row[mask], wanted, atol=1e-4)


def test_what_a_trajectory_samples_does_not_hang_on_its_neighbours(
    smalls: dict[str, Small],
) -> None:
    small = smalls["qwen2.5-vl"]
    problems = problems_of(small)
    alone = sampled(policy_of(small, batch=1), problems)
    together = sampled(policy_of(small), problems)
    assert [r.turns[0].ids for r in alone] == [r.turns[0].ids for r in together]
    assert len({r.turns[0].ids for r in together}) == len(together)  # nor do two sample the same


def test_those_that_are_unfinished_share_a_call_and_new_ones_join_and_a_prompt_is_read_once(
    smalls: dict[str, Small], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, calls = policy_of(smalls["qwen2.5-vl"], batch=4), []
    generate = local.generate

    def counted(model: Any, inputs: Any, reads: Any, *rest: Any) -> Any:
        calls.append((len(reads), len(inputs["input_ids"])))
        return generate(model, inputs, reads, *rest)

    monkeypatch.setattr(local, "generate", counted)
    problems = [problem_of(Modality.IMAGE, policy.family, n) for n in range(5)]

    async def run() -> list[Trajectory | Failure]:
        limits = Limits(max_turns=2, task_turns=(), tell_faults=True)
        runs = rollout(policy, problems, 2, limits, policy.family, in_flight=4)
        return [one async for one in runs]

    assert len(asyncio.run(run())) == 10
    # Two turns each, four at once, until two are left; both samples of a problem begin alike.
    assert calls == [(4, 2), (4, 4), (4, 2), (4, 4), (2, 1), (2, 2)]


def test_no_id_that_stands_for_a_picture_is_ever_sampled(smalls: dict[str, Small]) -> None:
    policy = policy_of(smalls["qwen2.5-vl"], max_tokens=20)
    with torch.no_grad():  # nothing is likelier than a placeholder, by far
        policy.model.lm_head.weight[list(policy.words.vision)] *= 500
    for run in sampled(policy, problems_of(smalls["qwen2.5-vl"])):
        for turn in run.turns:
            assert turn.ids
            assert turn.logprobs
            assert not set(turn.ids) & set(policy.words.vision)
            assert min(turn.logprobs) > float("-inf")


@pytest.mark.parametrize("name", NAMES)
def test_a_temperature_of_zero_takes_what_transformers_takes_greedily(
    smalls: dict[str, Small], name: str
) -> None:
    small = smalls[name]
    policy = policy_of(small, temperature=0.0)
    state = canvas.opened(problem_of(Modality.VIEWS, small.family))
    (run,) = sampled(policy, [state.problem], 1, Limits(max_turns=1))
    prompt = tokens.prompt(state, policy.words, policy.family, 1, sampled=True)
    drawn = pixels.drawn(state, prompt.pictures)
    inputs = pixels.collate([prompt.ids], drawn, policy.words, policy.processor, "left")
    made = policy.model.generate(
        **inputs,
        max_new_tokens=12,
        do_sample=False,
        bad_words_ids=[[n] for n in policy.words.vision],
        eos_token_id=policy.words.end,
        pad_token_id=policy.words.pad,
    )
    assert run.turns[0].ids == tuple(made[0, len(prompt.ids) :].tolist())


def test_what_a_checkpoint_says_of_generation_bends_nothing_that_is_sampled(
    smalls: dict[str, Small],
) -> None:
    """Qwen2.5-VL's own files say a penalty on repetition: the trainer's distribution has none."""
    small = smalls["qwen2.5-vl"]
    problems = problems_of(small)
    plain, bent = policy_of(small), policy_of(small)
    bent.model.generation_config.repetition_penalty = 5.0
    for one, other in zip(sampled(plain, problems), sampled(bent, problems), strict=True):
        assert isinstance(one, Trajectory)
        assert isinstance(other, Trajectory)
        assert [t.logprobs for t in one.turns] == [t.logprobs for t in other.turns]
    assert bent.model.generation_config.repetition_penalty == 5.0  # it is saved with the model


def test_ids_are_drawn_as_often_as_they_are_likely() -> None:
    shares = torch.tensor([[0.5, 0.0, 0.3, 0.2]]).repeat(4000, 1)
    draws = torch.tensor([Random(f"{n}").random() for n in range(4000)], dtype=torch.float64)
    counts = Counter(local._inverted(shares, draws[:, None]).tolist())
    assert counts[1] == 0
    for index in (0, 2, 3):
        expected = 4000 * float(shares[0, index])
        assert abs(counts[index] - expected) < 4 * expected**0.5


def test_the_ends_of_the_unit_interval_fall_on_ids_that_have_a_share() -> None:
    shares = torch.tensor([[0.0, 0.6, 0.4, 0.0]]).repeat(2, 1)
    edges = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    assert local._inverted(shares, edges).tolist() == [1, 2]


def test_top_p_leaves_the_fewest_ids_that_make_up_the_share(smalls: dict[str, Small]) -> None:
    words = smalls["qwen2.5-vl"].words
    logits = torch.full((200, 2000), float("-inf"))
    logits[:, :3] = torch.tensor([0.5, 0.3, 0.2]).log()
    streams = [Random(n) for n in range(200)]
    for top_p, left in ((0.4, {0}), (0.7, {0, 1}), (0.95, {0, 1, 2})):
        chosen, _ = local._chosen(logits.clone(), words, Sampling(top_p=top_p), streams)
        assert set(chosen.tolist()) == left


def test_a_turn_that_hits_its_limit_is_truncated_and_keeps_its_ids(
    smalls: dict[str, Small],
) -> None:
    policy = policy_of(smalls["qwen2.5-vl"], max_tokens=3)
    limits = Limits(max_turns=4, task_turns=())
    runs = sampled(policy, problems_of(smalls["qwen2.5-vl"]), 1, limits)
    cut = [run for run in runs if policy.words.end not in (run.turns[0].ids or ())]
    assert cut
    for run in cut:
        assert isinstance(run, Trajectory)
        assert (run.stop, len(run.turns[0].ids or ())) == ("truncated", 3)


def test_a_prompt_that_leaves_no_room_is_a_failure_that_says_so(smalls: dict[str, Small]) -> None:
    small = smalls["qwen2.5-vl"]
    limits = Limits(max_context=20)
    policy = Local(small.load(), small.processor, limits, Sampling(max_tokens=4))
    (failed,) = sampled(policy, [problem_of(Modality.IMAGE, small.family)], 1, limits)
    assert isinstance(failed, Failure)
    assert "of 20 in all" in failed.reason


def test_a_processor_of_another_grid_is_refused(smalls: dict[str, Small]) -> None:
    with pytest.raises(models.GridMismatch, match="28 px"):
        Local(smalls["qwen2.5-vl"].load(), smalls["qwen3-vl"].processor, LIMITS, Sampling())


def test_a_broken_model_ends_the_rollout_loudly(
    smalls: dict[str, Small], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of(smalls["qwen2.5-vl"])

    def broken(*_: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(local, "generate", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        sampled(policy, problems_of(smalls["qwen2.5-vl"]))


def test_a_turn_that_has_ended_leaves_the_batch(
    smalls: dict[str, Small], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of(smalls["qwen2.5-vl"], max_tokens=6)
    end, plain = policy.words.end, policy.words.write("a")[0]
    scripts = [[plain] * length + [end] for length in (1, 4, 2, 9)]
    monkeypatch.setattr(policy, "_stream", lambda state: iter(scripts[state.sample]))
    monkeypatch.setattr(
        local, "_sampled", lambda _, __, streams: torch.tensor([next(one) for one in streams])
    )
    forward, read = policy.model.model.forward, []

    def counted(**inputs: Any) -> Any:
        read.append(len(inputs["attention_mask"]))
        return forward(**inputs)

    monkeypatch.setattr(policy.model.model, "forward", counted)
    state = canvas.opened(problem_of(Modality.IMAGE, policy.family))
    turns = policy.answers([replace(state, sample=n) for n in range(4)])
    assert [len(turn.ids or ()) for turn in turns] == [2, 5, 3, 6]  # the last hits the limit
    assert [len(turn.logprobs or ()) for turn in turns] == [2, 5, 3, 6]
    assert read == [1, 4, 3, 2, 2, 1]  # the prompt, once; then an id each of those that go on
