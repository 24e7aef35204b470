"""The teacher behind servers: what is asked, what is read, and every way in which that may fail."""

import asyncio
import base64
import logging
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx2
import numpy as np
import pytest

from pipeline import canvas, chat, images
from pipeline.client import Client, Secret, trusted
from pipeline.grammar import write
from pipeline.policies import EndpointPolicy, Sampling
from pipeline.rollout import Limits, rollout
from pipeline.teachers.endpoint import Endpoint
from pipeline.types import (
    Answer,
    Failure,
    Fault,
    PolicyError,
    State,
    Step,
    Stop,
    Trajectory,
    Turn,
)
from tests.conftest import PIXELS, box, plain_problem, run
from tests.scripted import FAULTS, MODEL, Scripted, mixed

KEY = "sk-very-secret-0123456789"
SAMPLING = Sampling(samples=1, temperature=0.75, top_p=0.9, max_tokens=200)


def policy(*urls: str, **changes: Any) -> EndpointPolicy:
    facts = {"kind": "endpoint", "model": MODEL, "servers": urls, "timeout_s": 5.0, "retries": 6}
    return EndpointPolicy.model_validate({**facts, **changes})


def endpoint(*urls: str, key: str | None = KEY, **changes: Any) -> Endpoint:
    return Endpoint(policy(*urls, **changes), SAMPLING, Limits(), PIXELS, 3, key)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits a hundredth as long between attempts."""
    monkeypatch.setattr("pipeline.throttle.BACKOFF_S", 0.005)
    monkeypatch.setattr("pipeline.throttle.FIRST_REST_S", 0.02)
    monkeypatch.setattr("pipeline.throttle.LONGEST_REST_S", 0.2)


def acted(
    server: Scripted, state: State | None = None, **changes: Any
) -> tuple[Turn | PolicyError, Scripted]:
    """One turn from one server, or the error."""

    async def one() -> Turn | PolicyError:
        async with server:
            try:
                return await endpoint(server.url, **changes).act(
                    state or canvas.opened(plain_problem())
                )
            except PolicyError as error:
                return error

    return asyncio.run(one()), server


def first_then(*faults: str) -> Callable[[dict[str, Any], int], str]:
    """These faults in turn, then none."""
    return lambda request, number: faults[number] if number < len(faults) else ""


def drawn() -> State:
    """A state after one turn that drew."""
    state = run(plain_problem(), [Step("Here.", (box(20, 20, 80, 80),))])
    assert isinstance(state, State)
    return state


# What is asked -----------------------------------------------------------------------------------


def test_a_turn_is_asked_for_with_all_that_is_shown_and_comes_back_read() -> None:
    state = drawn()
    turn, server = acted(Scripted(), state)
    assert isinstance(turn, Turn)
    assert isinstance(turn.parsed, Answer)
    (asked,) = server.requests
    roles = [message["role"] for message in asked["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert asked["messages"][2]["content"] == state.turns[0].text
    shown = [
        part["image_url"]["url"]
        for message in asked["messages"]
        for part in message["content"]
        if isinstance(part, dict) and part["type"] == "image_url"
    ]
    pngs = [base64.b64decode(url.removeprefix("data:image/png;base64,")) for url in shown]
    assert pngs == [canvas.picture(state.problem, view).png for view in state.views]
    told = {k: asked[k] for k in ("model", "temperature", "top_p", "max_tokens")}
    assert told == {"model": MODEL, "temperature": 0.75, "top_p": 0.9, "max_tokens": 200}
    assert turn.usage is not None
    counts = (turn.usage.prompt_tokens, turn.usage.completion_tokens, turn.usage.cached_tokens)
    assert counts == (500, 20, 100)
    assert (turn.usage.pictures, turn.usage.requests, turn.usage.retries) == (2, 1, 0)


@pytest.mark.parametrize(("encoding", "quality"), [("webp", None), ("jpeg", 80)])
def test_pictures_go_in_the_encoding_that_the_version_names(
    encoding: str, quality: int | None
) -> None:
    state = drawn()
    _, server = acted(Scripted(), state, encoding=encoding, quality=quality)
    url = server.requests[0]["messages"][3]["content"][0]["image_url"]["url"]
    head, _, data = url.partition(",")
    assert head == f"data:image/{encoding};base64"
    sent = images.read(base64.b64decode(data))
    ours = canvas.pixels(state.problem, state.views[1])
    assert np.array_equal(sent, ours) == (encoding == "webp")
    assert np.abs(sent.astype(int) - ours).mean() < 3


def test_pictures_go_as_files_that_are_written_once(tmp_path: Path) -> None:
    state = drawn()
    for _ in range(2):
        _, server = acted(Scripted(), state, pictures="file", folder=str(tmp_path / "shown"))
        files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        assert len(files) == 2
        times = {path: path.stat().st_mtime_ns for path in files}
    urls = [m["content"][0]["image_url"]["url"] for m in server.requests[0]["messages"][1::2][:1]]
    urls += [server.requests[0]["messages"][3]["content"][0]["image_url"]["url"]]
    for url, view in zip(urls, state.views, strict=True):
        path = Path(url2pathname(urlsplit(url).path))
        assert times[path] == path.stat().st_mtime_ns
        assert path.read_bytes() == canvas.picture(state.problem, view).png


def test_the_turns_of_a_trajectory_go_to_one_server_under_one_session() -> None:
    async def both() -> list[set[str]]:
        async with Scripted(text=drawing) as one, Scripted(text=drawing) as two:
            teacher = endpoint(one.url, two.url)
            problems = [plain_problem(id=f"p{n}") for n in range(8)]
            runs = rollout(teacher, problems, 1, Limits(max_turns=4), PIXELS)
            assert all(
                isinstance(r, Trajectory) and len(r.turns) == 4 for r in [r async for r in runs]
            )
            return [{h["x-session-id"] for h in server.headers} for server in (one, two)]

    one, two = asyncio.run(both())
    assert len(one) == len(two) == 4  # shared out evenly
    assert not one & two


def drawing(request: dict[str, Any]) -> str:
    """A box each turn, in another place each time."""
    n = sum(message["role"] == "assistant" for message in request["messages"])
    return write(Step("Here.", (box(20 + n, 20, 80, 80),)))


def test_each_turn_of_each_sample_has_a_seed_of_its_own_and_a_retry_has_the_same() -> None:
    state = canvas.opened(plain_problem())
    _, server = acted(Scripted(first_then("broken")), state)
    assert server.requests[0]["seed"] == server.requests[1]["seed"]
    others = (canvas.opened(plain_problem(), 1), canvas.opened(plain_problem(id="else")), drawn())
    seeds = {acted(Scripted(), other)[1].requests[0]["seed"] for other in (state, *others)}
    assert len(seeds) == 4


def test_a_prompt_beyond_the_context_is_not_sent() -> None:
    problem = plain_problem(question="Why? " * 60_000)
    error, server = acted(Scripted(), canvas.opened(problem))
    assert isinstance(error, PolicyError)
    assert "tokens, of 32768 in all" in str(error)
    assert not server.requests


def test_more_fields_go_with_a_request_and_a_session_goes_in_its_header() -> None:
    _, server = acted(Scripted(), extra={"top_k": 20})
    assert server.requests[0]["top_k"] == 20
    assert len(server.headers[0]["x-session-id"]) == 32
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_a_server_that_takes_no_max_tokens_is_told_the_limit_as_it_wants_it() -> None:
    _, server = acted(Scripted(), limit_as="max_completion_tokens")
    assert server.requests[0]["max_completion_tokens"] == 200
    assert "max_tokens" not in server.requests[0]


def test_a_refusal_that_asks_for_the_other_limit_names_the_field() -> None:
    error = Client("http://127.0.0.1:1/v1", Secret(KEY), trusted())._refused(
        httpx2.Response(
            400,
            json={
                "error": {
                    "message": "Unsupported parameter: 'max_tokens' is not supported with this "
                    "model. Use 'max_completion_tokens' instead.",
                    "param": "max_tokens",
                    "code": "unsupported_parameter",
                }
            },
        )
    )
    assert error.final
    assert str(error).endswith("(the policy's field for that: limit_as: max_completion_tokens)")


# What is read ------------------------------------------------------------------------------------


def test_a_turn_that_was_cut_off_by_its_length_is_truncated() -> None:
    turn, _ = acted(Scripted(finish_reason="length"))
    assert isinstance(turn, Turn)
    assert turn.parsed == Fault(Stop.TRUNCATED, "the turn hit its token limit")


def test_ids_and_log_probabilities_are_kept_where_they_are_asked_for() -> None:
    turn, server = acted(Scripted(), token_ids=True)
    assert isinstance(turn, Turn)
    assert server.requests[0]["logprobs"] is True
    assert turn.ids == tuple(range(10, 30))
    assert turn.logprobs == tuple(-i / 100 for i in range(10, 30))
    plain, server = acted(Scripted())
    assert isinstance(plain, Turn)
    assert plain.ids is plain.logprobs is None
    assert "logprobs" not in server.requests[0]


@pytest.mark.parametrize(
    "ids", [[1, 2], None, "x", [1.5] * 20, [-1] * 20, [2**40] * 20, [True] * 20]
)
def test_ids_that_do_not_agree_with_their_log_probabilities_are_not_kept(ids: Any) -> None:
    turn, _ = acted(Scripted(token_ids=ids), token_ids=True)
    assert isinstance(turn, Turn)
    assert turn.ids is turn.logprobs is None


@pytest.mark.parametrize(
    "usage", [None, 7, [], {}, {"prompt_tokens": "9", "completion_tokens": -1}]
)
def test_counts_that_cannot_be_are_estimated_and_touch_nothing_else(usage: Any) -> None:
    turn, _ = acted(Scripted(usage=usage), token_ids=True)
    assert isinstance(turn, Turn)
    assert turn.ids == tuple(range(10, 30))
    assert turn.usage is not None
    assert turn.usage.completion_tokens == 20  # as many as there are ids
    assert 300 < turn.usage.prompt_tokens < 3000
    assert turn.usage.cached_tokens == 0


# What fails --------------------------------------------------------------------------------------

RETRIED = {
    "busy": "status 429",
    "rest": "status 429",
    "broken": "status 500",
    "overloaded": "status 503",
    "529": "status 529",
    "408": "status 408",
    "hang": "no answer within 0.3 s",
    "drip": "no answer within 0.3 s",
    "cut": "the connection broke",
    "no json": "the answer is no JSON",
    "no choice": "the answer has no choice",
    "no text": "the answer has no text",
    "other model": "answered by the model 'another', asked was 'scripted'",
    "huge": "an answer of more than 16777216 bytes",
    "echo": "the answer holds the key",
    "aborted": "the answer is not finished: 'abort'",
    "refused inside": "an error under status 200: refused inside: key Bearer [key] is bad",
}


def patience(fault: str) -> float:
    """As short as can be where it has to be spent."""
    return 0.3 if fault in ("hang", "drip") else 5.0


@pytest.mark.parametrize("fault", RETRIED)
def test_after_a_fault_the_turn_is_asked_for_again(fault: str) -> None:
    turn, server = acted(Scripted(first_then(fault, fault)), timeout_s=patience(fault))
    assert isinstance(turn, Turn), turn
    assert turn.usage is not None
    assert (turn.usage.requests, turn.usage.retries, turn.usage.pictures) == (3, 2, 3)
    assert sum(server.answered.values()) == 1


@pytest.mark.parametrize("fault", RETRIED)
def test_a_fault_that_stays_is_an_error_with_its_reason_when_the_retries_are_spent(
    fault: str,
) -> None:
    error, server = acted(
        Scripted(lambda request, number: fault), retries=1, timeout_s=patience(fault)
    )
    assert isinstance(error, PolicyError)
    assert RETRIED[fault] in str(error)
    assert "(2 times)" in str(error)
    assert (error.usage.requests, error.usage.retries) == (2, 1)
    assert len(server.requests) == 2


def test_every_fault_of_the_script_is_tried_on_its_own() -> None:
    assert {*FAULTS} - {"lies"} <= {*RETRIED}


def test_a_lie_about_token_counts_is_no_fault() -> None:
    turn, _ = acted(Scripted(first_then("lies")))
    assert isinstance(turn, Turn)
    assert turn.usage is not None
    assert turn.usage.requests == 1
    assert 0 < turn.usage.completion_tokens <= 200


@pytest.mark.parametrize("status", ["400", "413", "422"])
def test_a_request_that_is_refused_for_what_it_is_is_not_sent_again(status: str) -> None:
    error, server = acted(Scripted(lambda request, number: status))
    assert isinstance(error, PolicyError)
    assert f"status {status}: {status}: key Bearer [key] is bad" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", ["401", "403", "404", "307"])
def test_a_server_that_will_not_have_us_is_not_asked_again_and_it_is_said_why(status: str) -> None:
    error, server = acted(Scripted(lambda request, number: status))
    assert isinstance(error, PolicyError)
    assert f"no server answers; {server.url}: status {status}" in str(error)
    assert len(server.requests) == 1


def test_a_certificate_that_is_not_trusted_is_told_with_the_remedy(tmp_path: Path) -> None:
    error, server = acted(Scripted(tls=certified(tmp_path)))
    assert isinstance(error, PolicyError)
    assert "its certificate is not trusted" in str(error)
    assert "SSL_CERT_FILE" in str(error)
    assert not server.requests


def test_a_certificate_whose_authority_is_named_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    turn, _ = acted(Scripted(tls=tls))
    assert isinstance(turn, Turn)


def certified(folder: Path) -> ssl.SSLContext:
    """A certificate for loopback that nobody knows."""
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", *kind, *subject, *files], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.mark.parametrize("wrong", ["error", "model"])
def test_a_servers_words_are_told_on_one_line_that_a_table_can_hold(wrong: str) -> None:
    words = "no\n\x1b[31m\ud800\x00 way " + 400 * "x"

    async def one() -> str:
        async with Scripted(model=words) as server:
            server.refusal = words
            server.script = lambda request, number: "400" if wrong == "error" else ""
            with pytest.raises(PolicyError) as raised:
                await endpoint(server.url, retries=0).act(canvas.opened(plain_problem()))
            return str(raised.value)

    said = asyncio.run(one())
    assert said.isprintable()
    assert said.encode()
    assert "no" in said
    assert len(said) <= 300


@pytest.mark.parametrize("before", range(240, 310, 7))
def test_a_key_is_blotted_out_before_words_are_cut(before: int) -> None:
    words = "x" * before + KEY
    client = Client("http://127.0.0.1:1/v1", Secret(KEY), trusted())
    refused = client._refused(httpx2.Response(500, json={"error": {"message": words}}))
    broken = client._broken(OSError(words))
    for error in (refused, broken):
        assert KEY[:4] not in str(error)


def test_an_error_that_is_nested_beyond_reason_is_told_all_the_same() -> None:
    for depth in (100, 900, 5_000, 100_000):
        nested = b'{"error": {"message": ' + b"[" * depth + b"]" * depth + b"}}"
        assert isinstance(chat.reason(nested), str)


def test_a_server_that_takes_thoughts_out_is_told_of_with_the_remedy() -> None:
    message = {"content": "x", "reasoning_content": "I think"}
    error, server = acted(Scripted(message=message))
    assert isinstance(error, PolicyError)
    assert "without a reasoning parser" in str(error)
    assert len(server.requests) == 1


def test_a_body_that_is_too_large_is_never_held() -> None:
    import tracemalloc

    tracemalloc.start()
    error, _ = acted(Scripted(lambda request, number: "huge"), retries=0, timeout_s=30.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(error, PolicyError)
    assert peak < 40 * 2**20  # of 50 MB


def test_work_moves_to_the_other_server_when_one_is_gone() -> None:
    async def both() -> tuple[list[Any], Scripted]:
        async with Scripted() as one:
            async with Scripted() as two:
                gone = two.url
            teacher = endpoint(one.url, gone)
            problems = [plain_problem(id=f"p{n}") for n in range(40)]
            runs = rollout(teacher, problems, 2, Limits(), PIXELS)
            return [run async for run in runs], one

    done, one = asyncio.run(both())
    assert len(done) == 80
    assert all(isinstance(run, Trajectory) for run in done)
    assert sum(one.answered.values()) == 80


def test_when_all_servers_are_gone_each_trajectory_fails_with_the_reason() -> None:
    async def none() -> list[Any]:
        async with Scripted() as one, Scripted() as two:
            urls = (one.url, two.url)
        teacher = endpoint(*urls, patience_s=0.3, retries=1000)
        problems = [plain_problem(id=f"p{n}") for n in range(20)]
        return [run async for run in rollout(teacher, problems, 2, Limits(), PIXELS)]

    done = asyncio.run(none())
    assert len(done) == 40
    assert all(isinstance(run, Failure) for run in done)
    assert "no server answers" in done[-1].reason
    assert "the connection broke" in done[-1].reason


# Keys --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*RETRIED, "400", "401", ""])
def test_the_key_is_in_no_log_no_error_no_repr_and_no_turn(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def one() -> str:
        async with Scripted(lambda request, number: fault) as server:
            teacher = endpoint(server.url, retries=1, timeout_s=patience(fault))
            try:
                said: object = await teacher.act(canvas.opened(plain_problem()))
            except PolicyError as error:
                said = error
            chain, seen = said, ""
            while isinstance(chain, BaseException):
                seen += repr(chain) + str(chain)
                chain = None if chain.__suppress_context__ else chain.__context__
            return seen + repr(said) + repr(teacher) + repr(vars(teacher))

    assert KEY not in asyncio.run(one())
    assert KEY not in caplog.text


# In numbers --------------------------------------------------------------------------------------


def accounted_for(problems: int, samples: int, share: float) -> None:
    """Every trajectory comes out once, whole, in its order, with the text of its own turn."""

    async def every() -> tuple[list[Trajectory | Failure], list[Scripted]]:
        async with Scripted(mixed(share, 1)) as one, Scripted(mixed(share, 2)) as two:
            teacher = endpoint(one.url, two.url, retries=20, in_flight=32, timeout_s=2.0)
            asked = (plain_problem(id=f"p{n}", images=TINY_PICTURE) for n in range(problems))
            runs = rollout(teacher, asked, samples, Limits(), PIXELS, 64)
            return [run async for run in runs], [one, two]

    done, servers = asyncio.run(every())
    wanted = [f"p{n}#{sample}" for n in range(problems) for sample in range(samples)]
    assert [f"{run.problem_id}#{run.sample}" for run in done] == wanted
    assert all(isinstance(run, Trajectory) for run in done)
    texts = [run.turns[0].text for run in done if isinstance(run, Trajectory)]
    assert len({*texts}) == len(wanted)  # each has the answer to its own seed
    faults = sum(sum(server.faults.values()) - server.faults[""] for server in servers)
    requests = sum(sum(server.faults.values()) for server in servers)
    assert faults > share * 0.8 * requests
    again = [n for server in servers for n in server.answered.values()]
    # A whole answer is asked for once; only one that came too late is asked for again.
    assert sum(again) < len(wanted) * 1.01
    usage = [turn.usage for run in done if isinstance(run, Trajectory) for turn in run.turns]
    assert sum(u.requests for u in usage if u) == requests


TINY_PICTURE = (images.encode(np.full((56, 56, 3), 200, np.uint8)),)


def test_with_a_fifth_of_requests_failing_every_trajectory_is_there_once() -> None:
    accounted_for(60, 4, 0.2)


@pytest.mark.slow
def test_with_a_fifth_of_requests_failing_four_thousand_trajectories_are_there_once() -> None:
    accounted_for(1000, 4, 0.2)


@pytest.mark.parametrize("fault", ["", "busy", "broken", "no json"])
def test_connections_are_used_again_and_no_more_are_opened_than_are_asked_at_once(
    fault: str,
) -> None:
    async def ask() -> None:
        async with Scripted(lambda *_: fault, latency_s=lambda _: 0.005) as server:
            teacher = endpoint(server.url, retries=0)
            for _ in range(5):
                states = [canvas.opened(plain_problem(), sample) for sample in range(3)]
                asked = (teacher.act(state) for state in states)
                await asyncio.gather(*asked, return_exceptions=True)
            assert sum(server.faults.values()) == 15
            assert server.opened <= 3
            await teacher.aclose()

    asyncio.run(ask())


@pytest.mark.parametrize("fault", ["hang", "drip", "cut", "huge"])
def test_another_connection_takes_the_place_of_one_that_was_given_up(fault: str) -> None:
    async def ask() -> None:
        async with Scripted(first_then(fault, fault)) as server:
            teacher = endpoint(server.url, timeout_s=1.0, retries=3)
            await teacher.act(canvas.opened(plain_problem()))
            await teacher.act(canvas.opened(plain_problem(), 1))
            assert sum(server.faults.values()) == 4
            assert server.opened == 3
            await teacher.aclose()

    asyncio.run(ask())


def test_connections_that_nobody_needs_any_more_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.client.IDLE_S", 0.05)

    async def ask() -> None:
        async with Scripted(latency_s=lambda _: 0.005) as server:
            teacher = endpoint(server.url)
            states = [canvas.opened(plain_problem(), sample) for sample in range(4)]
            await asyncio.gather(*(teacher.act(state) for state in states))
            before = server.connections
            await asyncio.sleep(0.1)
            for sample in range(4, 8):
                await teacher.act(canvas.opened(plain_problem(), sample))
            async with asyncio.timeout(5):
                while server.connections != 1:
                    await asyncio.sleep(0.005)
            assert before > 1
            await teacher.aclose()

    asyncio.run(ask())
