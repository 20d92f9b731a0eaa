from __future__ import annotations

import base64
import fcntl
import json
import os
import socketserver
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from netlab.cli.main import main
from netlab.lab.folders import lab_folders
from tests.cli.plans import PICTURES

NETLAB = Path(sys.executable).parent / "netlab"


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs the real program with folders of its own."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict[str, str])

    def __call__(
        self, *words: str, stdin: bytes = b"", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [NETLAB, *words],
            input=stdin,
            capture_output=True,
            cwd=self.folder,
            env=self.environment(**variables),
            timeout=60,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, *map(_decode, (done.stdout, done.stderr))
        )

    def environment(self, **variables: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "XDG_STATE_HOME": str(self.folder / "state"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "COLUMNS": "100",
            "PYTHONWARNINGS": "error",
            **variables,
        }

    def complete(self, *words: str) -> list[str]:
        done = self(*words, _NETLAB_COMPLETE="bash")
        assert (done.returncode, done.stderr) == (0, "")
        return [line.partition("\t")[0] for line in done.stdout.splitlines()]


@dataclass(frozen=True, slots=True)
class Here:
    """Runs the program in this process, which starts sooner; its folders are a shell's."""

    shell: Shell
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    @property
    def folder(self) -> Path:
        return self.shell.folder

    def __call__(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        self.capture.readouterr()
        with self.patch.context() as patch:
            patch.chdir(self.folder)
            for name, value in self.shell.environment(**variables).items():
                patch.setenv(name, value)
            code = main(words)
        return subprocess.CompletedProcess(words, code, *self.capture.readouterr())


def _decode(data: bytes) -> str:
    """Decode without loss: what is not UTF-8 comes back by ``surrogateescape``."""
    return data.decode(errors="surrogateescape")


@pytest.fixture
def netlab(tmp_path: Path) -> Shell:
    for name in ("home", "run"):
        (tmp_path / name).mkdir(mode=0o700)
    return Shell(tmp_path)


@pytest.fixture
def here(
    netlab: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    return Here(netlab, monkeypatch, capsys)


class FakeLab:
    """A small real control API: HTTP over a Unix socket, a held lock, a plan in its folder.

    It knows the commands ``true``, ``false``, ``env``, ``cat`` and ``both``.
    """

    def __init__(self, shell: Shell, name: str) -> None:
        self.name = name
        self.plan = PICTURES["ring"]
        with pytest.MonkeyPatch.context() as patch:
            for variable in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
                patch.setenv(variable, shell.environment()[variable])
            folders = lab_folders(name)
        self.runtime, self.state = folders.runtime, folders.state
        self.went_down = threading.Event()
        self.links: dict[tuple[str, str], bool] = {}
        for folder in (self.runtime, self.state):
            folder.mkdir(mode=0o700, parents=True)
            folder.parent.chmod(0o700)
        plan = {"lab": name, "nodes": [{"name": node.name} for node in self.plan.nodes]}
        (self.state / "plan.json").write_text(json.dumps(plan))
        self.write_log([
            {"time": 1.5, "kind": "lab", "node": None, "state": "starting", "message": "begins"},
            {"time": 3.25, "kind": "node", "node": "r1", "state": "ready", "message": "ready"},
        ])
        about = {"pid": os.getpid(), "started": 1.0, "topology": "/labs/ring.yaml"}
        (self.state / "lab.json").write_text(json.dumps(about))
        (self.state / "lab.log").write_text("the lab's log\n")
        (self.state / "nodes/r1").mkdir(parents=True)
        (self.state / "nodes/r1/console.log").write_bytes(b"one\ntwo\n\xffthree\n")
        self.lock = os.open(self.runtime / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        self.hold()
        self.server = _Server(str(self.runtime / "control"), _Handler)
        self.server.lab = self
        self.thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self.thread.start()

    def write_log(self, events: Sequence[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(event) + "\n" for event in events)
        (self.state / "events.jsonl").write_text(lines)

    def hold(self) -> None:
        flock = struct.pack("hhxxxxqqixxxx", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        fcntl.fcntl(self.lock, fcntl.F_OFD_SETLK, flock)

    def end(self) -> None:
        """Let go, as the kernel does for a lab process that ends."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1

    def close(self) -> None:
        self.end()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def status(self) -> dict[str, Any]:
        nodes = [
            {
                "name": node.name,
                "id": node.id,
                "state": "ready" if node.name != "r6" else "booting",
                "reason": "" if node.name != "r6" else "agent silent,\nlast line \x1b[31mpanic",
                "since": 1.0,
                "image": "micro",
                "pid": 100 + node.id,
                "loopback": list(node.loopback),
                "interfaces": [
                    {
                        "name": each.name,
                        "segment": each.segment,
                        "tap": each.tap,
                        "mac": each.mac,
                        "addresses": list(each.addresses),
                    }
                    for each in node.interfaces
                ],
            }
            for node in self.plan.nodes
        ]
        return {
            "lab": self.name,
            "topology": "ring",
            "state": "starting",
            "pid": os.getpid(),
            "accel": "tcg",
            "accel_reason": "there is no /dev/kvm",
            "digest": "0" * 64,
            "nodes": nodes,
        }


class _Server(socketserver.ThreadingUnixStreamServer):
    lab: FakeLab
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride] # it is served by that
    protocol_version = "HTTP/1.0"

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its name upstream
        del format, args

    def do_GET(self) -> None:  # called by name
        match self.path:
            case "/status":
                self._answer(200, self.server.lab.status())
            case "/events":
                log = (self.server.lab.state / "events.jsonl").read_bytes()
                self._send(200, log)
            case "/nodes/r1/console":
                with (self.server.lab.state / "nodes/r1/console.log").open("ab") as file:
                    file.write(b"four\n")
                self._send(200, b"four\n")
            case _:
                self._refuse("UnknownNameError", f"nothing at {self.path}")

    def do_POST(self) -> None:  # called by name
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if self.path == "/down":
            self._answer(202, {})
            self.server.lab.went_down.set()
            self.server.lab.end()
            return
        if self.path == "/link":
            self._link(body)
            return
        node = self.path.split("/")[2]
        if node not in {each.name for each in self.server.lab.plan.nodes}:
            self._refuse("UnknownNameError", f"lab {self.server.lab.name} has no node {node!r}")
        elif node == "r6":
            self._refuse("NotReadyError", "r6 is booting: agent silent", status=500)
        else:
            self._execute(body)

    def _link(self, body: dict[str, Any]) -> None:
        first, second = body["endpoints"]
        if second == "r4":
            self._refuse("UnknownNameError", f"{first} and {second} share none")
        else:
            self.server.lab.links[first, second] = body["up"]
            self._answer(200, {})

    def _execute(self, body: dict[str, Any]) -> None:
        stdin = base64.b64decode(body["stdin"])
        outcomes: dict[str, tuple[int, bytes, bytes]] = {
            "true": (0, b"", b""),
            "false": (1, b"", b""),
            "killed": (-9, b"", b""),
            "cat": (0, stdin, b""),
            "env": (0, json.dumps(body["environment"]).encode(), b""),
            "both": (3, b"out\xff\n", b"err\n"),
            "words": (0, json.dumps(body["argv"]).encode() + b"\n", b""),
        }
        status, stdout, stderr = outcomes[body["argv"][0]]
        pieces = {
            stream: base64.b64encode(data).decode()
            for stream, data in (("stdout", stdout), ("stderr", stderr))
        }
        incomplete = "stdout cut off" if body["argv"][0] == "both" else None
        ended = {"status": status, "incomplete": incomplete}
        if not body["tell"]:
            self._answer(200, {**ended, **pieces})
            return
        told = [{"stream": stream, "data": data} for stream, data in pieces.items()]
        lines = [json.dumps(each) for each in (*told, {**ended, "stdout": "", "stderr": ""})]
        self._send(200, "".join(f"{line}\n" for line in lines).encode())

    def _refuse(self, error: str, message: str, status: int = 400) -> None:
        record = {"class": error, "message": message, "hint": None, "evidence": None}
        self._answer(status, {"error": record})

    def _answer(self, status: int, body: object) -> None:
        self._send(status, json.dumps(body).encode())

    def _send(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def lab(netlab: Shell) -> Iterator[FakeLab]:
    fake = FakeLab(netlab, "ring")
    yield fake
    fake.close()


@pytest.fixture
def second_lab(netlab: Shell) -> Iterator[FakeLab]:
    fake = FakeLab(netlab, "other")
    yield fake
    fake.close()
