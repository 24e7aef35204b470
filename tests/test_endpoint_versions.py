"""A served teacher in a version file: what is refused, what decides, what reaches the store."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from assets.build import build
from assets.checks import checks_of
from assets.graph import address, needed
from assets.turns import unled
from pipeline import plan, teachers
from pipeline.store import Store
from pipeline.teachers import NoBackend
from pipeline.versions import Version, VersionError, parse
from tests.assets.conftest import TINY, store
from tests.assets.pretend import Pretending
from tests.scripted import MODEL, listening
from trainers.configure import configure
from trainers.evaluate import EvaluateConfig, evaluate

__all__ = ["store"]  # a fixture

KEY = "sk-very-secret-0123456789"


def version(policy: str = "servers: 'http://127.0.0.1:1/v1'") -> Version:
    said = f"{{policy: {{kind: endpoint, model: {MODEL}, {policy}}}, sampling: {{samples: 3}}}}"
    return parse(
        "served", TINY.replace("{policy: {kind: oracle}, sampling: {samples: 3}}", said, 1)
    )


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("servers: 'gpu1:8000/v1'", "is no URL of a server: http://host:port/v1, or https"),
        ("servers: ['ftp://gpu1/v1']", "is no URL of a server"),
        ("servers: ['http://gpu1:port/v1']", "servers: one is no URL"),
        ("servers: ['http://gpu1:8000/v1', 'http://gpu1:8000/v1']", "servers: one is named twice"),
        ("servers: []", "servers"),
        ("servers: ['http://a/v1'], encoding: jpeg", "quality goes with encoding jpeg"),
        ("servers: ['http://a/v1'], quality: 80", "quality goes with encoding jpeg"),
        ("servers: ['http://a/v1'], encoding: gif", "must be 'png', 'webp' or 'jpeg'"),
        ("servers: ['http://a/v1'], pictures: file", "folder goes with pictures file"),
        ("servers: ['http://a/v1'], folder: /x", "folder goes with pictures file"),
        ("servers: ['http://a/v1'], extra: {stream: true}", "extra.stream: the version says"),
        ("servers: ['http://a/v1'], extra: {top_p: 0.5}", "extra.top_p: the version says"),
        (
            "servers: ['http://a/v1'], extra: {max_completion_tokens: 9}",
            "extra.max_completion_tokens",
        ),
        (
            "servers: ['http://a/v1'], limit_as: n",
            "must be 'max_tokens' or 'max_completion_tokens'",
        ),
        ("servers: ['http://a/v1'], timeout_s: 0", "greater than 0"),
        ("servers: ['http://a/v1'], prices: {prompt: -1}", "greater than or equal to 0"),
        ("servers: ['http://a/v1'], key: abc", "no such field"),
    ],
)
def test_a_section_that_is_wrong_is_refused_with_what_is_allowed(policy: str, message: str) -> None:
    with pytest.raises(VersionError) as refused:
        version(policy)
    assert "versions/served.yaml: teacher.policy" in str(refused.value)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "policy",
    [
        f"servers: ['http://user:{KEY}@gpu1/v1']",
        f"servers: 'http://{KEY}@gpu1/v1'",
        f"servers: ['http://gpu1/v1?key={KEY}']",
        f"servers: ['http://gpu1/v1#{KEY}']",
        f"servers: ['http://{KEY}@gpu1:port/v1']",
        f"servers: ['http://gpu1/v1'], key_from: {KEY}",
    ],
)
def test_a_credential_in_a_version_file_is_refused_and_not_repeated(policy: str) -> None:
    with pytest.raises(VersionError) as refused:
        version(policy)
    assert KEY not in str(refused.value)
    assert "key_from" in str(refused.value) or "no URL" in str(refused.value)


def test_only_what_decides_a_turn_is_in_the_address() -> None:
    plain = address("teacher_trajectories", version())
    reached = (
        "servers: [http://other:1/v1, https://third/v1], key_from: SOME_KEY, timeout_s: 5, retries: 1, "
        "patience_s: 1, in_flight: 7, pictures: file, folder: /x, prices: {prompt: 1}, "
        "limit_as: max_completion_tokens"
    )
    assert address("teacher_trajectories", version(reached)) == plain
    server = "servers: 'http://127.0.0.1:1/v1'"
    others = (
        *("encoding: webp", "encoding: jpeg, quality: 90", "encoding: jpeg, quality: 80"),
        *("revision: abc", "token_ids: true", "extra: {top_k: 20}", "extra: {top_k: 21}"),
    )
    found = {address("teacher_trajectories", version(f"{server}, {other}")) for other in others}
    assert len(found | {plain}) == 8


def test_a_key_that_is_not_set_is_asked_for_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    keyed = version("servers: ['http://a/v1'], key_from: SOME_KEY")
    with pytest.raises(NoBackend, match=r"takes a key from \$SOME_KEY, which is not set"):
        teachers.policy(keyed.teacher, keyed, 0)


@pytest.mark.parametrize("wrong", ["\nsecond line", "\x00", "ключ", " \u200b"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    keyed = version("servers: ['http://a/v1'], key_from: SOME_KEY")
    monkeypatch.setattr("os.environ", {"SOME_KEY": KEY + wrong})
    with pytest.raises(
        NoBackend, match=r"\$SOME_KEY holds characters that are in no key"
    ) as refused:
        teachers.policy(keyed.teacher, keyed, 0)
    assert KEY not in str(refused.value)


def test_a_plan_needs_no_server() -> None:
    lines = [line for line in plan.plan(version()) if line.stage == "teacher"]
    assert [(line.policy, line.runnable) for line in lines] == [(MODEL, True)]


def test_as_many_trajectories_are_under_way_as_the_servers_take() -> None:
    two = version("servers: [http://a/v1, http://b/v1], in_flight: 100")
    assert teachers.in_flight(two.teacher) == 200


def test_an_asset_is_built_through_a_server_and_holds_neither_key_nor_server(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", f"{KEY}\n")  # as it comes from a file
    with listening() as server:
        served = version(f"servers: '{server.url}', key_from: SOME_KEY")
        build("problems", served, store)
        built = build("teacher_trajectories", served, store)
        assert built.manifest.tables["trajectories"] == 24  # 8 problems × 3
        assert len(server.requests) == 24
        again = build("teacher_trajectories", served, store)
        assert len(server.requests) == 24
        assert again.manifest == built.manifest
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    files = [path for path in Path(str(store.desk)).rglob("*") if path.is_file()]
    assert files
    for path in files:
        data = path.read_bytes()
        assert KEY.encode() not in data
        assert server.url.encode() not in data


# In a student's seat ------------------------------------------------------------------------------


def student(server: str, reflective: str = "{kind: oracle}") -> Version:
    """A version whose cold model is served; who comes after it is as given."""
    return parse("served", student_text(server, reflective))


def student_text(server: str, reflective: str = "{kind: oracle}") -> str:
    oracle = "cold_model: {policy: {kind: oracle, rates: {slip: 0.4}}, "
    served = f"cold_model: {{policy: {{kind: endpoint, model: {MODEL}, servers: '{server}'}}, "
    said = TINY.replace(oracle, served).replace(
        "{kind: oracle, rates: {wrong_answer: 0.4}}", reflective
    )
    assert served in said
    return said


def test_a_served_student_is_sampled_and_evaluated_wherever_it_is_served(store: Store) -> None:
    trainers = Pretending()
    with listening() as server:
        served = student(server.url)
        built = {
            asset: build(asset, served, store, trainers)
            for asset in needed(["reflective_trajectories", "evaluation"], served)
        }
        assert built["reflective_trajectories"].manifest.tables["trajectories"] == 24
        assert len(server.requests) == 24
    (named, _) = trainers.config("trainers.evaluate")["policies"]
    assert json.loads(named)["servers"] == [server.url]
    assert all(check(built["evaluation"]).passed for check in checks_of("evaluation"))
    moved = student("http://elsewhere/v1")
    assert all(
        build(asset, moved, store) == replace(made, version=moved) for asset, made in built.items()
    )
    for asset in ("cold_model", "reflective_trajectories", "evaluation"):
        for path in Path(built[asset].path).iterdir():
            assert server.url.encode() not in path.read_bytes()


def test_turns_of_an_evaluation_are_led_to_as_long_as_its_version_is_there(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRAWLOOP_VERSIONS", str(tmp_path / "versions"))
    (tmp_path / "versions").mkdir()

    def launch(module: str, config: Path) -> None:
        assert module == "trainers.evaluate"
        evaluate(configure(EvaluateConfig, [str(config)]))

    with listening() as server:
        served = student(server.url)
        for asset in needed(["evaluation"], served):
            built = build(asset, served, store, launch)
        asked = 4 * (served.evaluation.samples + 1)
        assert len(server.requests) == asked
    assert all(check(built).passed for check in checks_of("evaluation"))
    assert sum(held.turns for held in unled(store)) == asked
    (tmp_path / "versions" / "served.yaml").write_text(student_text(server.url))
    assert unled(store) == []


def test_nobody_is_trained_from_a_served_model() -> None:
    with pytest.raises(VersionError) as refused:
        student("http://a/v1", "{kind: train}")
    assert (
        "reflective_model is trained from cold_model, which is an endpoint: give it a checkpoint or "
        "vllm or train" in str(refused.value)
    )
