"""A vLLM server on loopback, asked by the plain client, beside transformers."""

import asyncio
import base64
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipeline import canvas, tokens
from pipeline.policies import EndpointPolicy
from pipeline.policies import Sampling as Sampled
from pipeline.protocol import FAMILIES, Picture, render
from pipeline.rollout import advance
from pipeline.teachers.endpoint import Endpoint
from pipeline.teachers.local import Local
from pipeline.types import Problem, State
from tests.served import NAME, served
from tests.vllm.conftest import BASE, GREEDY, LIMITS, rolled

FAMILY = FAMILIES["qwen2.5-vl"]
NEAR = 1e-3  # the server rounds what it tells


@pytest.fixture(scope="module")
def address(on_a_cpu: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(BASE, tmp_path_factory.mktemp("served") / "log") as found:
        yield found


def said(state: State) -> list[dict[str, Any]]:
    """A state as messages of the chat protocol, pictures as data URLs of their PNG."""

    def part(one: str | Picture) -> dict[str, Any]:
        if isinstance(one, str):
            return {"type": "text", "text": one}
        png = canvas.picture(state.problem, state.views[one.k - 1]).png
        url = "data:image/png;base64," + base64.b64encode(png).decode()
        return {"type": "image_url", "image_url": {"url": url}}

    messages = render(state, FAMILY, LIMITS.turns(state.problem))
    return [{"role": m.role, "content": [part(one) for one in m.parts]} for m in messages]


def test_the_servers_ids_and_log_probabilities_are_those_of_transformers(
    address: str, local: Local, asked: list[Problem]
) -> None:
    import openai

    client = openai.OpenAI(base_url=address, api_key="none", max_retries=0, timeout=120)
    same = several = 0
    for problem in islice(asked, 5):
        now: Any = canvas.opened(problem)
        while isinstance(now, State):
            turn = asyncio.run(local.act(now))
            done = client.chat.completions.create(
                model=NAME,
                messages=said(now),  # type: ignore[arg-type]
                temperature=0.0,
                max_tokens=GREEDY.max_tokens,
                logprobs=True,
                logit_bias={str(n): -100 for n in local.words.vision},
                extra_body={
                    "return_token_ids": True,
                    "ignore_eos": True,
                    "stop_token_ids": [local.words.end],
                },
            )
            (choice,) = done.choices
            written = tokens.prompt(now, local.words, FAMILY, LIMITS.turns(problem), sampled=True)
            extra = done.model_extra or {}
            assert tuple(extra["prompt_token_ids"]) == written.ids
            assert tuple((choice.model_extra or {})["token_ids"]) == turn.ids
            assert choice.logprobs is not None
            given = [one.logprob for one in choice.logprobs.content or ()]
            assert given == pytest.approx(turn.logprobs, abs=NEAR)
            same, several = same + 1, several + bool(now.turns)
            now = advance(now, turn, LIMITS, FAMILY, tokens.counter(local.words))
    print(f"\n{same} turns alike, {several} of them after drawings")
    assert several >= 3


def test_a_teacher_behind_the_server_says_what_transformers_says(
    address: str, local: Local, asked: list[Problem]
) -> None:
    policy = EndpointPolicy(
        kind="endpoint",
        model=NAME,
        servers=(address,),
        token_ids=True,
        extra={"logit_bias": {str(n): -100 for n in local.words.vision}},
    )
    sampling = Sampled(samples=1, temperature=0.0, top_p=1.0, max_tokens=GREEDY.max_tokens)
    served_by = Endpoint(policy, sampling, LIMITS, FAMILY, seed=0, key=None)
    few = asked[:4]
    ours, theirs = (rolled(policy, few, local.words) for policy in (local, served_by))
    assert [turn.text for t in theirs for turn in t.turns] == [
        t.text for o in ours for t in o.turns
    ]
    turns = [turn for told in theirs for turn in told.turns]
    assert [turn.ids for turn in turns] == [turn.ids for told in ours for turn in told.turns]
    for told, turn in zip(turns, (t for o in ours for t in o.turns), strict=True):
        assert told.logprobs == pytest.approx(turn.logprobs, abs=NEAR)
        assert told.usage is not None
        assert told.usage.completion_tokens == len(told.ids or ())
    assert max(len(told.turns) for told in theirs) > 1


def test_a_log_of_a_server_that_does_not_come_up_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="did not come up"), served(tmp_path, tmp_path / "log"):
        pass
