"""When a server of gRPC may stop: right after an answer, while no other call is under way."""

from __future__ import annotations

import asyncio

from varv.fronts.inference.pauses import Pauses


def test_a_pause_is_the_end_of_the_last_call_under_way():
    told = []

    async def scene():
        pauses, more = Pauses(), asyncio.Event()

        async def call(name, until):
            pauses.begin()
            try:
                await until.wait()
                told.append(name)
            finally:
                pauses.end()

        first = asyncio.create_task(call("first", asyncio.Event()))
        second = asyncio.create_task(call("second", more))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(pauses.next(60.0))
        await asyncio.sleep(0)
        more.set()
        await second
        assert not waiting.done()
        first.cancel()
        await waiting
        told.append("pause")

    asyncio.run(scene())
    assert told == ["second", "pause"]


def test_who_is_not_asked_waits_no_longer_than_allowed():
    asyncio.run(Pauses().next(0.01))


def test_an_end_that_nobody_waits_for_is_no_pause_later():
    async def scene():
        pauses = Pauses()
        pauses.begin()
        pauses.end()
        await asyncio.wait_for(asyncio.shield(pauses.next(0.05)), 10.0)

    asyncio.run(scene())
