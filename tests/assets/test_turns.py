"""Nothing is paid twice: builds, trials and plans through the file of turns, and what they took."""

import asyncio
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from assets import cli, definitions, status
from assets.bodies import SAMPLED, sampling
from assets.build import Built, build, find, inputs_of
from assets.graph import NODES, address
from assets.prune import stale
from assets.report import metadata
from assets.retry import retry
from assets.trial import trial
from assets.turns import forget, told, unled
from assets.underway import telling, underway
from pipeline import canvas, progress, spending, teachers
from pipeline.asking import turns_file
from pipeline.failing import TooManyFailures
from pipeline.grammar import write
from pipeline.kept import Kept
from pipeline.measuring import extrapolated, measure
from pipeline.policies import Prices, Stage
from pipeline.progress import Progress
from pipeline.rollout import read_turn
from pipeline.store import Store
from pipeline.types import Answer, Box, Point, PolicyError, State, Step, Turn, Usage
from pipeline.versions import Version, parse
from tests.conftest import PIXELS

ASKED = """
description: for tests
canvas: {smallest: 112, largest: 112}
problems:
  tasks: {counting: {}}
  splits: {skills: 1, cold: 6, reflective: 2, rl: 2, evaluation: 0}
teacher: {policy: {kind: vllm, model: scripted}, sampling: {samples: 2}}
cold_model: {policy: {kind: oracle}, sampling: {samples: 1}}
reflective_model: {policy: {kind: oracle}, sampling: {samples: 1}}
filters: {cold: {min_turns: 1}, reflective: {rule: none}}
"""
ASSET = "teacher_trajectories"


class Server:
    """A teacher that looks once and answers rightly; it fails for samples that it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int]] = []
        self.failing: set[int] = set()
        self.started = 0

    def start(self, stage: Stage, version: Version, seed: int) -> "Server":
        self.started += 1
        return self

    async def act(self, state: State) -> Turn:
        turn = len(state.turns)
        self.asked.append((state.problem.id, state.sample, turn))
        await asyncio.sleep(0)
        if turn and state.sample in self.failing:
            raise PolicyError("HTTP 503 after 3 tries", Usage(requests=3, retries=2))
        look = Step("I look.", (Box(1, (Point(5, 5), Point(50, 50)), "all of it"),))
        said = Answer("So many.", state.problem.answer) if turn else look
        told = read_turn(state, write(said), PIXELS, ids=(1, turn), logprobs=(-0.5, -0.25))
        return replace(told, usage=Usage(1000, 100, 500 * turn, len(state.views), 1, 0))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setitem(teachers.TEACHERS, "vllm", server.start)
    return server


@pytest.fixture
def prices(monkeypatch: pytest.MonkeyPatch) -> Prices:
    """As a policy that costs has them in its version file."""
    prices = Prices(prompt=1.0, completion=10.0, cached=0.1)
    monkeypatch.setattr(
        spending, "prices_of", lambda policy: None if policy.kind == "oracle" else prices
    )
    return prices


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Version:
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "asked.yaml").write_text(ASKED)
    monkeypatch.setenv("DRAWLOOP_VERSIONS", str(tmp_path / "versions"))
    return parse("asked", ASKED)


def sampled(version: Version, store: Store) -> Built:
    build("problems", version, store)
    return build(ASSET, version, store)


def parts(built: Built) -> dict[str, str]:
    return {name: part["sha256"] for name, part in built.manifest.parts.items()}


def drop(built: Built) -> None:
    built.inputs.store.files.delete_dir(built.path)


def test_an_asset_that_was_lost_is_made_again_without_asking(
    asked: Version, store: Store, server: Server, prices: Prices, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sampled(asked, store)
    assert len(server.asked) == 6 * 2 * 2
    drop(first)

    def drawn(*_: object) -> None:
        raise AssertionError("a picture was drawn")

    monkeypatch.setattr(canvas, "draw", drawn)
    again = sampled(asked, store)
    assert parts(again) == parts(first)
    assert (len(server.asked), server.started) == (24, 1)
    spent, before = again.manifest.facts["spent"], first.manifest.facts["spent"]
    assert before["paid"] == spent["replayed"] != spent["paid"]
    assert before["paid"]["prompt_tokens"] == 24_000
    assert before["cost"] == spent["cost_replayed"] == pytest.approx(0.018 + 0.0006 + 0.024)
    assert spent["cost"] == 0


def test_what_it_took_is_on_the_page_and_in_the_state(
    asked: Version, store: Store, server: Server, prices: Prices
) -> None:
    built = sampled(asked, store)
    shown = metadata(built)
    table = shown["turns and tokens"].md_str
    assert "|prompt tokens|24,000|0|0|" in table
    assert "|cached tokens|6,000|" in table
    assert "retries" not in table, "there were none"
    assert shown["cost"] == pytest.approx(0.0426)
    said = CliRunner().invoke(cli.main, ["status", "asked"], catch_exceptions=False).output
    assert "teacher_trajectories: 24 turns asked, 0 replayed, 0 in vain; 24,000 prompt" in said
    assert "; cost 0.0426, of 0.0426 in all" in said
    assert "turns kept: 24 turns and 0 failures, " in said


def test_a_backend_that_costs_nothing_changes_no_manifest(tiny: Version, store: Store) -> None:
    built = sampled(tiny, store)
    assert "spent" not in built.manifest.facts
    assert told(store) is None
    assert "turns and tokens" not in metadata(built)


def test_a_failure_is_a_reject_and_stays_one_until_a_retry(
    asked: Version, store: Store, server: Server
) -> None:
    server.failing = {1}
    broken = sampled(asked, store)
    assert broken.manifest.facts["yield"] == {"kept": 6, "failed": 6}
    assert broken.manifest.facts["spent"]["in_vain"]["retries"] == 12
    (detail,) = {row["detail"] for row in broken.rows("rejects")}
    assert detail == "HTTP 503 after 3 tries"
    server.failing = set()
    server.asked.clear()
    drop(broken)
    assert parts(sampled(asked, store)) == parts(broken)
    assert server.asked == []
    lines = list(retry(ASSET, asked, store, lambda _: True))
    assert lines[0] == f"{ASSET}: 6 trajectories had failed, and 0 do now"
    assert {(sample, turn) for _, sample, turn in server.asked} == {(1, 1)}, "first turns are kept"
    whole = sampled(asked, store)
    assert whole.manifest.facts["yield"] == {"kept": 12}
    assert len(server.asked) == 6


def test_a_retry_takes_what_was_made_from_it_in_any_version_and_nothing_else(
    asked: Version, store: Store, server: Server
) -> None:
    other = parse("other", ASKED.replace("min_turns: 1", "min_turns: 2"))
    server.failing = {1}
    broken = sampled(asked, store)
    made = [broken, build("cold_set", asked, store), build("cold_set", other, store)]
    made += [build("cold_export", asked, store)]
    apart = [build("drawing_skills", asked, store), build("problems", asked, store)]
    run = store.desk / "runs" / f"cold_export-{made[-1].address}"
    run.mkdir(parents=True)
    server.failing = set()
    lines = list(retry(ASSET, asked, store, lambda _: True))
    assert {line.strip() for line in lines[1:]} == {built.path for built in made}
    assert not any(Path(built.path).exists() for built in made)
    assert all(Path(built.path).exists() for built in apart)
    assert not run.exists(), "a trainer would go on from what it was trained on before"


def test_a_retry_in_vain_or_without_leave_takes_nothing(
    asked: Version, store: Store, server: Server
) -> None:
    server.failing = {1}
    broken = sampled(asked, store)
    assert list(retry(ASSET, asked, store, lambda _: True)) == [
        f"{ASSET}: 6 trajectories had failed, and 6 do now"
    ]
    server.failing = set()
    assert len(list(retry(ASSET, asked, store, lambda _: False))) == 2
    assert sampled(asked, store).manifest == broken.manifest


def test_a_server_that_is_gone_stops_the_asset_and_what_came_is_kept(
    asked: Version, store: Store, server: Server
) -> None:
    strict = parse("asked", ASKED + "failures: {most: 0.25, after: 4}\n")
    server.failing = {1}
    with pytest.raises(TooManyFailures, match="2 of 4 trajectories failed, more than the 25%"):
        sampled(strict, store)
    assert not Path(store.path(ASSET, "")).exists()
    assert not list((Path(store.root) / "tmp").iterdir())
    server.failing = set()
    seen = set(server.asked)
    server.asked.clear()
    assert list(retry(ASSET, strict, store, lambda _: True)) == []
    assert sampled(strict, store).manifest.facts["yield"] == {"kept": 12}
    assert {turn for _, sample, turn in server.asked if sample == 1 and turn == 0} == set()
    assert len({*server.asked} & seen) == 6, "only the turns that failed"


def materialized(version: Version, monkeypatch: pytest.MonkeyPatch, **config: bool) -> list[str]:
    """The asset as Dagster makes it with a run configuration, as its launchpad would: what is logged."""
    monkeypatch.setattr(definitions, "VERSIONS", dg.StaticPartitionsDefinition([version.name]))
    asset = definitions.asset_of(ASSET, NODES[ASSET])
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [asset],
            partition_key=version.name,
            resources={"pipes": dg.PipesSubprocessClient()},
            instance=instance,
            run_config={"ops": {ASSET: {"config": config}}} if config else None,
        )
        assert result.success
        return [log.user_message for log in instance.all_logs(result.run_id)]


def test_the_ui_asks_again_by_the_run_configuration_and_makes_anew_only_if_it_says_so(
    asked: Version, store: Store, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.failing = {1}
    broken = sampled(asked, store)
    made = [broken, build("cold_set", asked, store)]
    server.failing = set()
    server.asked.clear()
    materialized(asked, monkeypatch)
    assert server.asked == [], "who says nothing asks nothing"
    said = materialized(asked, monkeypatch, retry_failed=True)
    assert f"{ASSET}: 6 trajectories had failed, and 0 do now" in said
    assert "Make these 2 folders anew? No: make_anew is off." in said
    assert {f"    {built.path}" for built in made} <= {*said}
    assert find(ASSET, asked, store) == broken
    said = materialized(asked, monkeypatch, retry_failed=True, make_anew=True)
    assert "Make these 2 folders anew? Yes." in said
    assert len(server.asked) == 6, "once, whatever is made of it"
    whole = find(ASSET, asked, store)
    assert whole is not None
    assert whole.manifest.facts["yield"] == {"kept": 12}
    assert find("cold_set", asked, store) is None


def test_an_asset_that_was_given_up_is_made_from_the_ui_when_its_server_is_mended(
    asked: Version, store: Store, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = parse("asked", ASKED + "failures: {most: 0.25, after: 4}\n")
    server.failing = {1}
    with pytest.raises(TooManyFailures, match="or in the launchpad retry_failed"):
        sampled(strict, store)
    server.failing = set()
    materialized(asked, monkeypatch, retry_failed=True)
    whole = find(ASSET, asked, store)
    assert whole is not None
    assert whole.manifest.facts["yield"] == {"kept": 12}


def test_the_launchpad_shows_what_may_be_said_of_failures_where_something_may_fail() -> None:
    job = definitions.defs.resolve_job_def("all")
    ops = {"ops": {ASSET: {"config": {"retry_failed": True}}}}
    assert dg.validate_run_config(job, ops)["ops"][ASSET]["config"] == {
        "retry_failed": True,
        "make_anew": False,
    }
    for asset in {*NODES} - {*SAMPLED}:
        with pytest.raises(dg.DagsterInvalidConfigError):
            dg.validate_run_config(job, {"ops": {asset: {"config": {"retry_failed": True}}}})


def test_the_state_tells_how_far_an_asset_is_while_it_is_sampled(
    asked: Version, store: Store, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY_S", 0)
    seen: list[dict[str, Any]] = []

    def state_now() -> dict[str, Any]:
        (line,) = [line for line in status.state(asked, store, False) if line["asset"] == ASSET]
        return line

    class Watched(Server):
        async def act(self, state: State) -> Turn:
            if len(self.asked) in (0, 20):
                seen.append(state_now())
            return await super().act(state)

    monkeypatch.setitem(teachers.TEACHERS, "vllm", Watched().start)
    monkeypatch.setattr(teachers, "in_flight", lambda _: 2)
    assert state_now()["state"] == "not built"
    sampled(asked, store)
    assert seen[0]["state"] == "being sampled: 0 of 12"
    assert seen[1]["state"].startswith("being sampled: ")
    assert seen[1]["state"].endswith(" of 12, 0 s left")
    assert 0 < seen[1]["sampled"]["ended"] < 12
    assert seen[1]["path"] is None
    assert state_now()["state"] == "complete"
    assert not list((store.desk / "underway").iterdir())


def test_an_asset_whose_process_was_killed_is_not_under_way(
    asked: Version, store: Store, tmp_path: Path
) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    name = f"{ASSET}-{address(ASSET, asked)}"
    with telling(store, name) as tell:
        tell(Progress(3, 12, 60.0))
        far = underway(store, name)
        assert far is not None
        assert far.left_s == pytest.approx(60.0, abs=5)
        path = store.desk / "underway" / f"{name}.json"
        path.write_text(path.read_text().replace(str(os.getpid()), str(gone.pid)))
        assert underway(store, name) is None
        path.write_text("cut o")
        assert underway(store, name) is None


def test_nobody_is_asked_any_more_when_the_backend_is_closed(
    asked: Version, store: Store, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    flying, at_close = set[str](), list[int]()

    class Slow(Server):
        async def act(self, state: State) -> Turn:
            flying.add(name := f"{state.problem.id}/{state.sample}")
            try:
                if state.sample:
                    await asyncio.sleep(60)
                return await super().act(state)
            finally:
                flying.discard(name)

        async def aclose(self) -> None:
            at_close.append(len(flying))

    monkeypatch.setitem(teachers.TEACHERS, "vllm", Slow().start)
    build("problems", asked, store)

    async def broken_off() -> None:
        async with sampling(ASSET, asked, inputs_of(ASSET, asked, store)) as (runs, _):
            async for _run in runs:
                assert flying
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(broken_off())
    assert at_close == [0]


def test_a_limit_on_failures_decides_no_address(asked: Version, store: Store) -> None:
    strict = parse("asked", ASKED + "failures: {most: 0.1, after: 3}\n")
    assert all(address(asset, strict) == address(asset, asked) for asset in NODES)


def test_what_is_tried_is_not_paid_again(asked: Version, store: Store, server: Server) -> None:
    said = "\n".join(trial(asked, store, 3, store.desk / "try"))
    assert "== teacher (vllm) on cold problems" in said
    assert len(server.asked) == 3 * 1 * 2
    before = set(server.asked)
    assert "\n".join(trial(asked, store, 3, store.desk / "try")) == said
    sampled(asked, store)
    assert len(server.asked) == 24
    assert before < set(server.asked)


def test_a_plan_is_measured_on_the_real_policy_and_kept(
    asked: Version, store: Store, server: Server, prices: Prices
) -> None:
    (line,) = measure(asked, store, 4)
    assert (line.seat, line.policy, line.trajectories) == ("teacher", "scripted", 12)
    assert (line.measured, line.failed) == (4, 0)
    assert line.prompt_tokens == (24_000, 0)
    assert line.completion_tokens == (2_400, 0)
    assert line.cost is not None
    assert line.cost.total == pytest.approx(0.0426)
    assert len(server.asked) == 4 * 2
    assert list(measure(asked, store, 4)) == [line], "its time, too, is that of the first asking"
    sampled(asked, store)
    assert len(server.asked) == 24


def test_a_measured_plan_is_told_in_a_table_and_for_scripts(
    asked: Version, store: Store, server: Server, prices: Prices
) -> None:
    def said(*more: str) -> str:
        words = ["plan", "asked", *more]
        return CliRunner().invoke(cli.main, words, catch_exceptions=False).output

    assert "measured" not in said().splitlines()[2]
    assert "24,000 ± 0" in said("--measure", "2")
    assert "0.04 ± 0.00" in said("--measure", "2")
    both: dict[str, Any] = json.loads(said("--measure", "2", "--json"))
    assert both["measured"][0]["prompt_tokens"] == [24_000, 0]
    assert both["planned"][0]["stage"] == "skills"


def test_an_estimate_tells_how_far_it_may_be_off() -> None:
    total, spread = extrapolated([10, 20], 100)
    assert total == 1500
    assert spread == pytest.approx(1.96 * 50**0.5 / 2**0.5 * 100)
    assert extrapolated([10], 100) == (1000, 1000)
    assert extrapolated([], 100) == (0, 0)


def test_turns_that_were_paid_are_pruned_only_on_request(
    asked: Version, store: Store, server: Server, tmp_path: Path
) -> None:
    sampled(asked, store)
    assert unled(store) == []
    assert list(stale(store)) == []
    (tmp_path / "versions" / "asked.yaml").write_text(ASKED.replace("scripted", "another"))
    prune = CliRunner().invoke(cli.main, ["prune", "--yes"], catch_exceptions=False)
    assert "24 turns" not in prune.output
    with Kept.at(turns_file(store)) as kept:
        assert kept.holdings()[0].turns == 24
    (held,) = unled(store)
    prune = CliRunner().invoke(cli.main, ["prune", "--yes", "--turns"], catch_exceptions=False)
    assert "24 turns of scripted, seed 0" in prune.output
    with Kept.at(turns_file(store)) as kept:
        assert kept.holdings() == []
    forget(store, [held])  # of a policy that is gone already: nothing happens
    assert unled(store) == []


def test_a_damaged_file_of_turns_is_one_line_with_a_remedy(
    asked: Version, store: Store, server: Server
) -> None:
    sampled(asked, store)
    turns_file(store).write_bytes(b"nothing of the kind" * 1000)
    said = CliRunner().invoke(cli.main, ["status", "asked"])
    assert said.exit_code == 0, "what is in the store can be told without it"
    assert "turns kept: " in said.output
    assert "turns.sqlite is damaged" in said.output
    said = CliRunner().invoke(cli.main, ["try", "asked"])
    assert said.exit_code == 2
    assert "turns.sqlite is damaged" in said.output
    assert "move it away, and what it held is asked again" in said.output
