"""Which server a turn goes to, and when."""

import asyncio
from random import Random
from typing import Any

import pytest

from pipeline.servers import AllDown, Servers, Ticket
from pipeline.throttle import BREAKS, START, Outcome


def servers(count: int = 2, most: int = 64, patience_s: float = 60.0) -> Servers:
    return Servers([f"s{n}" for n in range(count)], most, patience_s, Random(0))


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


async def down(some: Servers, server: int, outcome: Outcome = Outcome.FAILED) -> None:
    """Opens a server's breaker."""
    for _ in range(1 if outcome is Outcome.BARRED else BREAKS):
        now = asyncio.get_running_loop().time()
        ticket = Ticket(server, some.throttles[server].admit(now))
        some.leave(ticket, outcome, why="it burns")


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_sessions_are_shared_out_and_stay_where_they_are() -> None:
    async def go() -> None:
        some = servers(4)
        homes: dict[str, int] = {}
        for turn in range(3):
            tickets = {f"p{n}": await some.enter(f"p{n}") for n in range(16)}
            for session, ticket in tickets.items():
                assert homes.setdefault(session, ticket.server) == ticket.server, turn
                some.leave(ticket, Outcome.ANSWERED, tokens=1)
        assert sorted(list(homes.values()).count(n) for n in range(4)) == [4, 4, 4, 4]

    run(go())


def test_who_waits_is_let_in_in_the_order_of_coming() -> None:
    async def go() -> None:
        some, order = servers(1), []

        async def one(n: int) -> None:
            ticket = await some.enter("s")
            order.append(n)
            await asyncio.sleep(0)
            some.leave(ticket, Outcome.ANSWERED, tokens=1)

        await asyncio.gather(*(one(n) for n in range(200)))
        assert order == [*range(200)]
        assert some.throttles[0].in_flight == 0

    run(go())


def test_no_more_than_the_limit_are_under_way() -> None:
    async def go() -> None:
        some = servers(1, most=START)
        tasks = [asyncio.create_task(some.enter("s")) for _ in range(50)]
        await settled()
        assert sum(task.done() for task in tasks) == START
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(go())


def test_those_who_wait_for_a_server_that_goes_down_move_to_the_others() -> None:
    async def go() -> None:
        some = servers(2, most=START)
        held = [await some.enter("a") for _ in range(START)]
        home = held[0].server
        waiting = [asyncio.create_task(some.enter("a")) for _ in range(BREAKS + 4)]
        await settled()
        assert not any(task.done() for task in waiting)
        for ticket in held:
            some.leave(ticket, Outcome.FAILED, why="it burns")
        let_in = [ticket.server for ticket in await asyncio.gather(*waiting)]
        assert (
            let_in == [home] * (BREAKS - 1) + [1 - home] * 5
        )  # those before it went down, the rest

    run(go())


def test_a_session_leaves_a_server_that_is_overrun_for_one_that_is_idle() -> None:
    async def go() -> None:
        some = servers(2, most=START)
        home = (ticket := await some.enter("a")).server
        some.throttles[home].limit = 1.0
        waiting = [asyncio.create_task(some.enter("a")) for _ in range(8)]
        await settled()
        assert {task.result().server for task in waiting if task.done()} == {1 - home}
        some.leave(ticket, Outcome.ANSWERED, tokens=1)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    run(go())


def test_a_server_that_is_well_again_is_found_out_and_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.throttle.FIRST_REST_S", 0.02)

    async def go() -> None:
        some = servers(2)
        await down(some, 1)
        assert (await some.enter("a")).server == 0
        await asyncio.sleep(0.05)
        probe = await some.enter("a")
        assert probe.server == 1
        assert (await some.enter("b")).server == 0  # one probe is enough
        some.leave(probe, Outcome.ANSWERED, tokens=1)
        assert {(await some.enter(f"n{n}")).server for n in range(6)} == {0, 1}

    run(go())


def test_while_all_are_down_turns_wait_and_go_on_when_one_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.throttle.FIRST_REST_S", 0.02)

    async def go() -> None:
        some = servers(2)
        await down(some, 0)
        await down(some, 1)

        async def one(n: int) -> int:
            ticket = await some.enter(f"p{n}")
            await asyncio.sleep(0.01)
            some.leave(ticket, Outcome.ANSWERED, tokens=1)
            return ticket.server

        assert len(await asyncio.gather(*(one(n) for n in range(50)))) == 50
        assert not any(throttle.in_flight for throttle in some.throttles)

    run(go())


def test_a_probe_that_hangs_keeps_nobody_from_another_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.throttle.FIRST_REST_S", 0.02)

    async def go() -> None:
        some = servers(2)
        await down(some, 0)
        await down(some, 1)
        waiting = [asyncio.create_task(some.enter(f"p{n}")) for n in range(6)]
        async with asyncio.timeout(5):
            while sum(task.done() for task in waiting) < 2:
                await asyncio.sleep(0.01)
        probes = [task.result() for task in waiting if task.done()]
        assert {probe.server for probe in probes} == {0, 1}, "neither has answered the other's"
        some.leave(probes[0], Outcome.ANSWERED, tokens=1)
        let_in = await asyncio.gather(*waiting)
        assert [ticket.server for ticket in let_in].count(probes[0].server) == 5
        some.leave(probes[1], Outcome.LATE, why="it hangs")

    run(go())


def test_while_all_are_down_nobody_waits_longer_than_the_patience() -> None:
    async def go() -> None:
        some = servers(2, patience_s=0.05)
        await down(some, 0)
        await down(some, 1)
        begun = asyncio.get_running_loop().time()
        tried = await asyncio.gather(*(some.enter("a") for _ in range(5)), return_exceptions=True)
        assert asyncio.get_running_loop().time() - begun < 0.5
        assert all(isinstance(one, AllDown) for one in tried)
        assert str(tried[0]) == "no server answers; s0: it burns; s1: it burns"
        with pytest.raises(AllDown):
            await some.enter("later")

    run(go())


def test_where_every_server_bars_us_nobody_waits_at_all() -> None:
    async def go() -> None:
        some = servers(2, patience_s=1000.0)
        await down(some, 0, Outcome.BARRED)
        assert (await some.enter("a")).server == 1
        await down(some, 1, Outcome.BARRED)
        with pytest.raises(AllDown):
            await some.enter("b")

    run(go())


def test_who_is_cancelled_while_waiting_holds_no_place() -> None:
    async def go() -> None:
        some = servers(1, most=START)
        held = [await some.enter("a") for _ in range(START)]
        gone = asyncio.create_task(some.enter("a"))
        kept = asyncio.create_task(some.enter("a"))
        await settled()
        some.leave(held.pop(), Outcome.ANSWERED, tokens=1)  # lets the first in …
        gone.cancel()  # … which has gone by then
        await asyncio.gather(gone, return_exceptions=True)
        await kept
        assert some.throttles[0].in_flight == START

    run(go())


def test_waiting_costs_no_time_of_the_processor() -> None:
    import time

    async def go() -> float:
        some = servers(1, patience_s=0.6)
        await down(some, 0)
        begun = time.process_time()
        await asyncio.gather(*(some.enter("a") for _ in range(100)), return_exceptions=True)
        return time.process_time() - begun

    assert run(go()) < 0.2
