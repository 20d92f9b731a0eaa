"""Where a lab keeps its things: locks that tell life from death, folders that only we can read."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from netlab.errors import HostError
from netlab.lab.client import clear, how_it_ended, open_ending
from netlab.lab.folders import LabFolders, is_alive, lab_folders, list_labs, take_lock

HOLDER = """
import sys
from netlab.lab.folders import lab_folders, take_lock
assert take_lock(lab_folders(sys.argv[1])) is not None
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabFolders:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "run").mkdir(mode=0o700)
    return lab_folders("ring")


@pytest.fixture
def holder(folders: LabFolders):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, folders.lab],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


@pytest.mark.usefixtures("holder")
def test_the_lock_of_a_living_process_cannot_be_taken(folders: LabFolders) -> None:
    assert is_alive(folders)
    assert take_lock(folders) is None


def test_kill_minus_nine_releases_the_lock(
    folders: LabFolders, holder: subprocess.Popen[str]
) -> None:
    with open_ending(folders) as wait_ended:
        holder.send_signal(signal.SIGKILL)
        assert wait_ended(None)
    assert not is_alive(folders)


@pytest.mark.usefixtures("holder")
def test_waiting_for_the_end_stops_at_its_deadline(folders: LabFolders) -> None:
    with open_ending(folders) as wait_ended:
        assert not wait_ended(0.05)


def test_the_end_can_be_waited_for_in_any_thread(
    folders: LabFolders, holder: subprocess.Popen[str]
) -> None:
    ended: list[bool] = []

    def wait() -> None:
        with open_ending(folders) as wait_ended:
            ended.append(wait_ended(0.05))
            holder.kill()
            ended.append(wait_ended(20))

    waiter = threading.Thread(target=wait)
    waiter.start()
    waiter.join()
    assert ended == [False, True]
    assert not is_alive(folders)


def test_looking_at_a_lock_does_not_take_it(folders: LabFolders) -> None:
    descriptor = take_lock(folders)
    assert descriptor is not None
    os.close(descriptor)
    assert not is_alive(folders)
    again = take_lock(folders)
    assert again is not None
    os.close(again)


def test_waiting_and_looking_leave_no_trace_of_a_lab_that_never_was(folders: LabFolders) -> None:
    with open_ending(folders) as wait_ended:
        assert wait_ended(None)
    assert not is_alive(folders)
    assert not folders.runtime.exists()
    assert list_labs() == []


def test_both_folders_are_for_our_eyes_only(folders: LabFolders) -> None:
    folders.make()
    for folder in (folders.runtime, folders.state):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_runtime_folder_that_is_a_link_is_refused(folders: LabFolders, tmp_path: Path) -> None:
    folders.runtime.parent.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folders.runtime.symlink_to(elsewhere)
    with pytest.raises(HostError, match="not a folder of ours"):
        take_lock(folders)


def test_a_socket_path_that_is_too_long_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("long" * 30)))
    with pytest.raises(HostError, match="XDG_RUNTIME_DIR"):
        take_lock(lab_folders("ring"))


def test_of_many_takers_exactly_one_gets_the_lock(folders: LabFolders) -> None:
    found: list[int | None] = []
    takers = [threading.Thread(target=lambda: found.append(take_lock(folders))) for _ in range(8)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    held = [each for each in found if each is not None]
    assert len(held) == 1
    os.close(held[0])


def test_what_a_killed_lab_left_is_told_and_removed(folders: LabFolders) -> None:
    descriptor = take_lock(folders)
    assert descriptor is not None
    folders.about.write_text('{"pid": 4711}')
    os.close(descriptor)
    assert how_it_ended(folders) == (
        "its lab process (4711) was killed; its machines and links ended with it"
    )
    assert [each.lab for each in list_labs()] == ["ring"]
    assert clear(folders)
    assert not clear(folders)
    assert list_labs() == []


@pytest.mark.usefixtures("holder")
def test_a_lab_that_lives_is_not_cleared(folders: LabFolders) -> None:
    assert not clear(folders)
    assert folders.lock.exists()
