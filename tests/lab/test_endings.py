"""Which ends of a machine were asked for, and which are failures."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from netlab.lab.endings import Endings


@dataclass
class Runs:
    """A machine that runs until it has an exit status."""

    exit: int | None = None


class GivenUpError(Exception):
    """Whoever asked is cancelled."""


def test_the_end_that_was_asked_for_last_is_the_one_that_is_told() -> None:
    endings, machine = Endings(), Runs()
    assert (endings.are_asked_for, endings.how) == (False, "powered off")
    with endings.asked("powered off", machine):
        with endings.asked("crashed", machine):
            machine.exit = 0
        assert endings.how == "crashed"
    assert endings.how == "crashed"


def test_who_gives_up_before_the_end_takes_back_his_own_wish_alone() -> None:
    endings, machine = Endings(), Runs()
    with pytest.raises(GivenUpError), endings.asked("crashed", machine):
        raise GivenUpError
    assert not endings.are_asked_for
    with endings.asked("crashed", machine):
        with pytest.raises(GivenUpError), endings.asked("powered off", machine):
            raise GivenUpError
        assert endings.how == "crashed"
        with pytest.raises(GivenUpError), endings.asked("crashed", machine):
            raise GivenUpError
        assert endings.how == "crashed"
    endings = Endings()
    # One that has ended already, and only the clearing away is not waited for.
    with pytest.raises(GivenUpError), endings.asked("crashed", Runs(exit=0)):
        raise GivenUpError
    assert (endings.are_asked_for, endings.how) == (True, "crashed")
