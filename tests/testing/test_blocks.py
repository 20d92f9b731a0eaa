"""What a block changes is changed back, however the block ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import trio

from netlab.lab.access import LabAccess
from netlab.plan.model import SegmentPlan
from netlab.testing.failures import Failures
from netlab.testing.lab import LinkDriver


async def test_a_cable_whose_pulling_is_given_up_is_put_back() -> None:
    asked: list[bool] = []

    async def set_link(_segment: SegmentPlan, *, up: bool) -> None:
        asked.append(up)
        if not up:
            await trio.sleep_forever()

    lab = cast("LabAccess", SimpleNamespace(set_link=set_link))
    link = LinkDriver(lab, cast("SegmentPlan", None), Failures())
    with trio.move_on_after(0):
        async with link.down():
            raise AssertionError("unreachable")
    assert asked == [False, True]
