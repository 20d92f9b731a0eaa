"""`netlab shell`: the real prompt on a real terminal, and Python from a pipe."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.lab.conftest import NETLAB, Home
from tests.lab.terminals import open_on_terminal

pytestmark = pytest.mark.machines


def pipe(home: Home, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*NETLAB, "shell", "pair"],
        input=text,
        capture_output=True,
        text=True,
        env=home.environment,
        timeout=120,
        check=False,
    )


def test_python_from_a_pipe_awaits_and_returns_how_it_went(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    text = (
        "async def ask(node):\n    return (await node.succeed('hostname')).strip()\n"
        "print(await ask(a), await ask(b), [node.name for node in lab], link('a', 'b').plan.name)\n"
    )
    done = pipe(home, text)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("a b ['a', 'b'] ")
    failed = pipe(home, "await a.succeed('false')\nprint('not reached')\n")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("netlab: a: `false` exited with status 1")
    assert pipe(home, "await trio.sleep(0); 1 / 0").returncode == 1
    assert "SyntaxError" in pipe(home, "with:").stderr
    assert pipe(home, "await trio.sleep(0)\nraise SystemExit(7)").returncode == 7
    assert "lab nothing is not up" in home.run("shell", "nothing", status=2).stderr


def test_the_prompt_awaits_and_ctrl_c_comes_back_to_it(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    with open_on_terminal(home, "shell", "--plain", errors=True) as prompt:
        prompt.read_until(b"Ctrl-D leaves")
        prompt.read_until(b">>> ")
        prompt.type(b"x = await a.succeed('hostname'); 'it' + 'is' + x\r")
        prompt.read_until(b"'itisa\\n'")
        prompt.type(b"print('be' + 'gun'); await trio.sleep_forever()\r")
        prompt.read_until(b"begun\r\n")
        prompt.type(b"\x03")
        prompt.read_until(b"KeyboardInterrupt")
        prompt.type(b"await a.succeed('exit 3')\r")
        prompt.read_until(b"exited with status 3")
        prompt.read_until(b">>> ")
        home.run("down", "-y")
        prompt.type(b"await a.succeed('true')\r")
        prompt.read_until(b"lab pair does not answer")
        prompt.read_until(b">>> ")
        prompt.type(b"\x04")
        assert prompt.process.wait(30) == 0
        assert prompt.is_restored()


def test_ipython_awaits_in_a_labs_own_loop(home: Home, pair: Path) -> None:
    home.run("up", str(pair))
    # A terminal that does not say where its cursor is.
    home.environment |= {"PROMPT_TOOLKIT_NO_CPR": "1", "IPYTHONDIR": str(home.folder / "ipython")}
    with open_on_terminal(home, "shell", errors=True) as prompt:
        prompt.read_until(b"Ctrl-D leaves")
        prompt.read_until(b"In [")
        prompt.type(b"x = await a.succeed('hostname'); print('it' + 'is', x)\r")
        prompt.read_until(b"itis a")
        prompt.type(b"print('be' + 'gun'); await trio.sleep_forever()\r")
        prompt.read_until(b"begun")
        prompt.type(b"\x03")
        prompt.read_until(b"KeyboardInterrupt")
        prompt.read_until(b"In [")
        prompt.type(b"await a.succeed('exit 3')\r")
        prompt.read_until(b"exited with status 3")
        prompt.read_until(b"In [")
        prompt.type(b"\x04")
        assert prompt.process.wait(30) == 0
        assert prompt.is_restored()


def test_two_nodes_with_one_name_in_python_are_both_reached(home: Home, pair: Path) -> None:
    pair.write_text("name: pair\nnodes: {1a: {id: 1}, 2a: {id: 2}, b: {id: 3}}\n")
    home.run("up", str(pair))
    asked = "print([await node.succeed('hostname') for node in (lab['1a'], lab['2a'], b)])"
    done = pipe(home, f"{asked}\n_a\n")
    assert done.stdout == "['1a\\n', '2a\\n', 'b\\n']\n"
    assert '_a would be several nodes: lab["1a"], lab["2a"]' in done.stderr
    assert "NameError: name '_a' is not defined" in done.stderr
