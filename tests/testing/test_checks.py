"""What pings came to, what checks are called, and where their evidence goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from netlab.errors import MachineError
from netlab.plan.checklist import PlannedCheck, resolve_checks
from netlab.plan.codec import digest
from netlab.plan.resolve import resolve
from netlab.testing import LabDriver
from netlab.testing.checks import folder_names, run_check
from netlab.testing.pings import Answer, ping_command, read_answers
from netlab.topology.load import loads
from tests.testing.conftest import open_driver

BUSYBOX = (
    "PING b (10.0.0.1): 56 data bytes 64 bytes from 10.0.0.1: seq=0 ttl=64 time=1.1 ms "
    "--- b ping statistics --- 3 packets transmitted, 2 packets received, 33% packet loss"
)
IPUTILS = (
    "PING b (10.0.0.1) 56(84) bytes of data. --- b ping statistics --- "
    "3 packets transmitted, 0 received, +3 errors, 100% packet loss, time 2033ms"
)


def read_one(said: str) -> Answer:
    (answer,) = read_answers(f"1\tb\t{said}\n", ["b"])
    return answer


def test_both_kinds_of_ping_are_understood() -> None:
    assert read_one(BUSYBOX) == Answer(target="b", sent=3, received=2)
    assert read_one(IPUTILS) == Answer(target="b", sent=3, received=0)
    assert read_one(BUSYBOX).loss == pytest.approx(100 / 3)


@pytest.mark.parametrize(
    "said",
    [
        "PING b (10.0.0.1): 56 data bytes ping: sendto: Network is unreachable",
        "ping: sendmsg: Operation not permitted",
        "ping: connect: No route to host",
    ],
)
def test_what_the_kernel_refuses_to_send_is_not_answered(said: str) -> None:
    answer = read_one(said)
    assert (answer.received, answer.loss, answer.problem) == (0, 100.0, "")
    assert said.endswith(answer.refusal)
    assert answer.refusal[0] in "snc"


@pytest.mark.parametrize(
    "said", ["ping: bad address 'b'", "/bin/sh: ping: not found", "ping: b: Name not known"]
)
def test_what_could_not_be_tried_is_told_apart_from_what_is_not_answered(said: str) -> None:
    assert read_one(said).problem == said


def test_a_target_of_which_nothing_was_said_is_a_problem() -> None:
    answers = read_answers(f"0\tb\t{BUSYBOX}\nnonsense\n", ["b", "c"])
    assert [bool(answer.problem) for answer in answers] == [False, True]


def test_targets_are_words_of_their_own_and_never_part_of_a_script() -> None:
    command = ping_command(["b", "$(reboot)"], 3)
    assert command[-3:] == ("3", "b", "$(reboot)")
    assert "reboot" not in command[2]


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (["r1 pings r4"], ["r1-pings-r4"]),
        (["a: x", "a  x", "A:X"], ["a-x", "a-x-2", "a-x-3"]),
        (["../../etc", "/", "…"], ["etc", "check", "check-2"]),
        (["x" * 100], ["x" * 60]),
    ],
)
def test_folders_of_evidence_have_harmless_names_and_no_two_alike(
    names: list[str], folders: list[str]
) -> None:
    assert folder_names(names) == folders


def plan_checks(*checks: str) -> tuple[PlannedCheck, ...]:
    text = "name: a\nnodes: {'r[1-3]': {id: 1}, web: {id: 9}}\nchecks:\n"
    topology = loads(text + "".join(f"  - {check}\n" for check in checks), name="a.yaml")
    return resolve_checks(topology, [node.name for node in resolve(topology).nodes])


@pytest.mark.parametrize(
    ("check", "name"),
    [
        ("ping: {from: r1, to: [r2, 10.0.0.1]}", "r1 pings r2, 10.0.0.1"),
        ("reachable: all", "all nodes reach each other"),
        ("reachable: 'r[1-3]'", "r[1-3] reach each other"),
        ("reachable: {from: all, to: '2001:db8::1'}", "all nodes reach 2001:db8::1"),
        ("unreachable: {from: r1, to: web}", "r1 does not reach web"),
        ("unreachable: [r1, web]", "r1, web do not reach each other"),
        ("command: {node: 'r[1-2]', run: [ip, route]}", "r[1-2]: ip route"),
        (r'command: {node: r1, run: "cat\n  /x\x1b"}', "r1: cat /x "),
        ("converged: ", "the network converges"),
        ("{converged: , name: it settles}", "it settles"),
    ],
)
def test_a_check_without_a_name_gets_a_readable_one(check: str, name: str) -> None:
    (planned,) = plan_checks(check)
    assert (planned.name, planned.file, planned.line) == (name, "a.yaml", 4)


def test_no_two_checks_have_the_same_name_and_given_ones_stay() -> None:
    checks = plan_checks(
        "reachable: all", "{name: all nodes reach each other, converged: }", "reachable: all"
    )
    name = "all nodes reach each other"
    assert [check.name for check in checks] == [f"{name} (2)", name, f"{name} (3)"]


def test_checks_are_no_part_of_the_plan() -> None:
    text = "name: a\nnodes: {a: {id: 1}, b: {id: 2}}\nlinks: [a -- b]\n"
    with_checks = loads(f"{text}checks: [reachable: all]\n")
    assert digest(resolve(with_checks)) == digest(resolve(loads(text)))


def test_variables_stand_in_checks_like_everywhere_else() -> None:
    text = "name: a\nvars: {who: b, long: 7s}\nnodes: {a: , b: }\n"
    topology = loads(
        f"{text}checks: [reachable: {{from: a, to: '${{who}}', within: '${{long}}'}}]\n"
    )
    (check,) = resolve_checks(topology, ["a", "b"])
    assert check.name == "a reaches b"
    assert getattr(check.test, "within", None) == 7.0


async def collect(lab: LabDriver, folder: Path) -> None:
    (folder / "who.txt").write_text(await lab["a"].succeed("hostname"))


async def collect_and_fail(lab: LabDriver, folder: Path) -> None:
    (folder / "half.txt").write_text("half")
    raise MachineError(f"{lab['a'].name} is gone")


@pytest.mark.machines
async def test_evidence_is_kept_of_what_does_not_pass_and_of_nothing_else(tmp_path: Path) -> None:
    text = "name: a\nnodes: {a: {id: 1}}\nchecks:\n"
    text += "  - command: {node: a, run: 'true'}\n"
    text += "  - command: {node: a, run: 'echo why >&2; false'}\n"
    text += "  - command: {node: a, run: 'true', within: 1s}\n"
    topology = loads(text)
    passes, fails, waits = resolve_checks(topology, ["a"])
    async with open_driver(text) as lab:
        result = await run_check(lab, passes, folder=tmp_path / "passes", collect=collect)
        assert (result.verdict, result.folder) == ("passed", None)
        assert not (tmp_path / "passes").exists()

        folder = tmp_path / "deep/fails"
        result = await run_check(lab, fails, folder=folder, collect=collect)
        assert (result.verdict, result.code, result.folder) == ("failed", 1, folder)
        assert (folder / "who.txt").read_text() == "a\n"
        assert (folder / "failure.txt").read_text().endswith("\n\nwhy\n")

        folder = tmp_path / "half"
        result = await run_check(lab, fails, folder=folder, collect=collect_and_fail)
        assert (result.verdict, result.code) == ("failed", 1)
        assert "a is gone" in (folder / "incomplete.txt").read_text()
        assert (folder / "half.txt").exists()

        async with lab["a"].paused():
            result = await run_check(lab, waits)
        assert (result.verdict, result.code, result.folder) == ("failed", 1, None)
        assert "did not end as expected within 1 s: a: " in result.message
        assert "paused" in result.message
        assert (await run_check(lab, waits)).verdict == "passed"
