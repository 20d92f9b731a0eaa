"""The pytest plugin, as its users run it: pytest in a process of its own, on real labs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from netlab.testing.fixtures import make_slug
from tests.lab.conftest import Home, wait_gone

pytestmark = pytest.mark.machines

PAIR = "name: pair\nnodes: {a: {id: 1}, b: {id: 2}}\nlinks: ['a -- b']\n"

ONE = """
name: one
vars: {word: no}
nodes: {a: {id: 1, run: ['echo ${word} >/tmp/word']}}
"""


@pytest.fixture
def suite(home: Home) -> Path:
    """A folder with topologies; tests are written into it."""
    folder = home.folder / "suite"
    (folder / "tests").mkdir(parents=True)
    (folder / "pair.yaml").write_text(PAIR)
    (folder / "one.yaml").write_text(
        "name: one\nvars: {word: no}\nnodes: {a: {id: 1, run: ['echo ${word} >/tmp/word']}}\n"
    )
    return folder


def run_pytest(
    home: Home,
    suite: Path,
    *words: str,
    status: int,
    limit: float = 300,
    within: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "-v"]
    done = subprocess.run(
        [*within, *command, f"--basetemp={home.folder / 'tmp'}", *words],
        cwd=suite,
        env={**home.environment, "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


RED = """
import os
import signal
import pytest
from netlab.errors import CheckError

pytestmark = pytest.mark.netlab("pair.yaml")

async def test_green(lab, plan, topology):
    assert (topology.name, plan.lab, lab.timeout) == ("pair", "pair", 77)
    assert await lab["a"].succeed("ping -c1 b >/dev/null && hostname") == "a\\n"

async def test_red(lab):
    await lab["a"].succeed("ip addr add 192.168.77.7/24 dev eth1")
    async with lab.link("a", "b").down():
        # The guest's kernel tells such news at most once a second.
        await lab["a"].wait_until_succeeds("ip link show dev eth1 | grep NO-CARRIER")
        await lab["a"].succeed("echo why >&2; exit 3")

async def test_parts(lab):
    for number in (3, 4):
        with lab.subtest(f"part {number}", go_on=True):
            await lab["a"].succeed(f"exit {number}")

async def test_caught(lab):
    with pytest.raises(CheckError):
        async with lab.link("a", "b").down():
            await lab["a"].succeed("false")

@pytest.mark.xfail(strict=True)
async def test_known(lab):
    assert await lab["a"].succeed("hostname") == "b\\n"

async def test_skipped(lab):
    pytest.skip("not today")

async def test_dead(lab):
    os.kill(lab["b"].node.pid, signal.SIGKILL)
    await lab["b"].wait_until_fails("true")

async def test_gone(lab):
    os.kill(lab.lab.sandbox.pid, signal.SIGKILL)
    await lab["a"].wait_until_fails("true")
"""


def test_a_red_test_leaves_its_evidence_and_a_green_one_nothing(home: Home, suite: Path) -> None:
    (suite / "tests/test_red.py").write_text(RED)
    artifacts = suite / "artifacts"
    words = ("--netlab-artifacts", "artifacts", "--netlab-timeout", "77", "--junit-xml", "j.xml")
    done = run_pytest(home, suite, *words, status=1)
    assert "4 failed, 2 passed, 1 skipped, 1 xfailed" in done.stdout
    # The reason is the first line, and no line of netlab's own is shown.
    assert (
        "netlab.errors.CommandError: a: `echo why >&2; exit 3` exited with status 3: why"
        in done.stdout
    )
    assert "netlab/testing" not in done.stdout.replace(str(artifacts), "")
    assert "Exception Group" not in done.stdout
    kept = sorted(path.name for path in artifacts.iterdir())
    names = [
        f"tests/test_red.py::test_{name}" for name in ("dead", "gone", "known", "parts", "red")
    ]
    assert kept == [make_slug(name) for name in names]
    check_evidence(artifacts / make_slug("tests/test_red.py::test_red"))
    assert f"evidence: {artifacts / make_slug('tests/test_red.py::test_red')}" in done.stdout
    assert "CheckError: 2 of 2 parts failed: part 3: a: `exit 3`" in done.stdout
    check_dead(artifacts / make_slug("tests/test_red.py::test_dead"))
    check_gone(artifacts / make_slug("tests/test_red.py::test_gone"))
    assert "b: QEMU was killed by SIGKILL" in done.stdout
    cases = ElementTree.parse(suite / "j.xml").getroot().iter("testcase")
    assert sum(case.find("failure") is not None for case in cases) == 4


FULL = 'mount -t tmpfs -o size=16k none "$1" && shift && exec "$@"'


def test_a_red_test_on_a_full_disk_says_why_it_failed_and_what_is_lost(
    home: Home, suite: Path
) -> None:
    (suite / "tests/test_red.py").write_text(
        "import pytest\n\n@pytest.mark.netlab('one.yaml')\nasync def test_red(lab):\n"
        "    await lab['a'].succeed('echo why >&2; exit 3')\n"
    )
    (suite / "artifacts").mkdir()
    # In a mount namespace of its own: nobody else sees the disk.
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    full = ("unshare", "--mount", *user, "sh", "-c", FULL, "sh", "artifacts")
    done = run_pytest(home, suite, "--netlab-artifacts", "artifacts", status=1, within=full)
    assert "CommandError: a: `echo why >&2; exit 3` exited with status 3: why" in done.stdout
    assert "what could not be had" in done.stdout
    assert "nodes/a/agent.log cannot be written: No space left on device" in done.stdout
    assert "1 failed in" in done.stdout


def check_evidence(folder: Path) -> None:
    """All of it, as it was at the failure and not after it."""
    node = folder / "nodes/a"
    logs = ["agent.log", "command.log", "console.log", "guest.txt", "qemu.log", "qmp.log"]
    assert sorted(path.name for path in node.iterdir()) == logs
    guest = (node / "guest.txt").read_text()
    assert "192.168.77.7/24" in guest
    assert "$ ip route show table all" in guest
    assert "NO-CARRIER" in guest
    assert "qemu-system" in (node / "command.log").read_text()
    assert "echo why" in (node / "agent.log").read_text()
    assert "set_link" in (node / "qmp.log").read_text()
    assert "a:eth1" in (folder / "links.txt").read_text()
    assert json.loads((folder / "plan.json").read_text())
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert events[-1]["message"].endswith("is down")
    assert "what could not be had" not in (folder / "summary.txt").read_text()


def check_dead(folder: Path) -> None:
    summary = (folder / "summary.txt").read_text()
    assert "b: failed: b: QEMU was killed by SIGKILL" in summary
    assert "guest b: b: QEMU was killed by SIGKILL" in summary
    assert (folder / "nodes/b/console.log").stat().st_size > 0
    assert (folder / "nodes/a/guest.txt").is_file()


def check_gone(folder: Path) -> None:
    assert (folder / "nodes/a/agent.log").stat().st_size > 0
    assert (folder / "summary.txt").is_file()


VARIANTS = """
import pytest

@pytest.mark.netlab("one.yaml", vars=[{"word": "x"}, {"word": "y"}])
async def test_each(lab, request):
    word = await lab["a"].succeed("cat /tmp/word")
    assert f"word={word.strip()}" in request.node.name

@pytest.mark.netlab("pair.yaml", "one.yaml")
def test_plans(plan):
    assert plan.lab in ("pair", "one")

@pytest.mark.parametrize(
    "size",
    [
        pytest.param(1, marks=pytest.mark.netlab("one.yaml")),
        pytest.param(2, marks=pytest.mark.netlab("pair.yaml")),
    ],
)
def test_sizes(plan, size):
    assert len(plan.nodes) == size

@pytest.mark.netlab("pair.yaml", timeout=55)
@pytest.mark.trio
async def test_timeout(lab):
    assert lab.timeout == 55

@pytest.fixture
def lab_of_theirs():
    return 7

@pytest.mark.trio
async def test_plain(lab_of_theirs):
    assert lab_of_theirs == 7
"""


def test_tests_are_made_of_topologies_and_variables_also_by_several_workers(
    home: Home, suite: Path
) -> None:
    (suite / "tests/test_variants.py").write_text(VARIANTS)
    done = run_pytest(home, suite, "-n", "2", status=0)
    assert "8 passed" in done.stdout
    for name in (
        "test_each[one-word=x]",
        "test_each[one-word=y]",
        "test_plans[one]",
        "test_plans[pair]",
    ):
        assert name in done.stdout


LEAK = """
import subprocess
import pytest

@pytest.mark.netlab("pair.yaml")
async def test_leak(lab):
    subprocess.Popen(["nsenter", f"--target={lab.lab.sandbox.pid}", "--net", "sleep", "5"])
"""

NOT_READY = """
import pytest

@pytest.mark.netlab("broken.yaml")
async def test_not_ready(lab):
    raise AssertionError("not to be reached")
"""


def test_what_is_left_of_a_lab_fails_its_test(home: Home, suite: Path) -> None:
    (suite / "tests/test_leak.py").write_text(LEAK)
    (suite / "broken.yaml").write_text("name: x\nnodes: {a: {id: 1, run: ['echo no; exit 9']}}\n")
    (suite / "tests/test_not_ready.py").write_text(NOT_READY)
    done = run_pytest(home, suite, status=1)
    assert "CheckError: of lab pair is left: process " in done.stdout
    assert "sleep 5" in done.stdout
    assert "exit 9" in done.stdout
    assert "a: failed:" in done.stdout
    assert "not to be reached" not in done.stdout.partition("short test summary")[2]
    assert "evidence: " in done.stdout
    wait_gone(home.processes())


WRONG = """
import pytest

async def test_nothing_named(lab):
    pass

@pytest.mark.netlab("wrong.yaml")
async def test_wrong_topology(lab):
    pass

@pytest.mark.netlab("pair.yaml")
def test_not_async(lab):
    pass

@pytest.mark.netlab("none.yaml")
def test_no_such_file(topology):
    pass
"""


def test_wrong_input_is_told_without_a_traceback(home: Home, suite: Path) -> None:
    (suite / "tests/test_names.py").write_text(WRONG)
    (suite / "tests/wrong.yaml").write_text("name: x\nnodes: {a: {memry: 1}}\n")
    done = run_pytest(home, suite, status=1)
    assert "4 errors" in done.stdout
    assert (
        'no topology: mark the test with @pytest.mark.netlab("FILE"), put wrong' not in done.stdout
    )
    assert 'wrong.yaml:2:13: nodes.a.memry: unknown key "memry"' in done.stdout
    assert "test_not_async uses a lab and is not `async def`" in done.stdout
    assert "none.yaml" in done.stdout
    assert "Traceback" not in done.stdout


ATTACHED = """
async def test_attached(lab):
    assert await lab["a"].succeed("hostname") == "a\\n"

async def test_red(lab):
    await lab["b"].succeed("exit 3")
"""


def test_a_lab_that_is_up_is_used_and_one_that_is_kept_stays(home: Home, suite: Path) -> None:
    (suite / "tests/test_pair.py").write_text(ATTACHED)
    home.run("up", "--name", "mine", str(suite / "pair.yaml"))
    done = run_pytest(home, suite, "--netlab-attach", "mine", status=1)
    assert "1 failed, 1 passed" in done.stdout
    assert "b: ready" in done.stdout
    assert home.status("--name", "mine")["state"] == "ready"
    other = suite / "other.yaml"
    other.write_text(PAIR.replace("b: {id: 2}", "b: {id: 7}"))
    words = ("--netlab-attach", "mine", "--netlab-topology", "../other.yaml")
    done = run_pytest(home, suite / "tests", *words, status=1)
    assert "2 failed" in done.stdout
    assert "lab mine is up from another plan than this test's" in done.stdout
    done = run_pytest(home, suite, "--netlab-attach", "none", status=1)
    assert "lab none is not up" in done.stdout
    home.run("down", "--name", "mine")

    done = run_pytest(home, suite, "--netlab-keep", status=1)
    assert "1 failed, 1 passed in" in done.stdout
    assert "lab pair is left running:" in done.stdout
    assert "netlab exec pair/a -- ip route" in done.stdout
    assert home.run("exec", "pair/b", "--", "hostname").stdout == "b\n"
    assert [lab["lab"] for lab in home.status("--all")] == ["pair"]
    assert [folder.name for folder in home.lab_folders()] == ["pair", "pair"]
