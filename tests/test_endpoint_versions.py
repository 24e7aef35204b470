"""A served teacher in a version file: what is refused, what decides, what reaches the store."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assets.build import build
from assets.graph import address
from pipeline import plan, teachers
from pipeline.store import Store
from pipeline.teachers import NoBackend
from pipeline.versions import Version, VersionError, parse
from tests.assets.conftest import TINY, store
from tests.scripted import MODEL, Scripted

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
        "patience_s: 1, in_flight: 7, pictures: file, folder: /x, prices: {prompt: 1}"
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


def test_a_plan_needs_no_server() -> None:
    lines = [line for line in plan.plan(version()) if line.stage == "teacher"]
    assert [(line.policy, line.runnable) for line in lines] == [(MODEL, True)]


def test_as_many_trajectories_are_under_way_as_the_servers_take() -> None:
    two = version("servers: [http://a/v1, http://b/v1], in_flight: 100")
    assert teachers.in_flight(two.teacher) == 200


@contextmanager
def listening() -> Iterator[Scripted]:
    """A server in a thread of its own, for those who run a loop of their own."""
    ready, ended = threading.Event(), asyncio.Event()
    server = Scripted()
    loop = asyncio.new_event_loop()

    async def listen() -> None:
        async with server:
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(listen()))
    thread.start()
    assert ready.wait(20)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def test_an_asset_is_built_through_a_server_and_holds_neither_key_nor_server(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
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
