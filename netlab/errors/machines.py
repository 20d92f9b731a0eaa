"""What became of a lab: its links, its images, its machines and their guests."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import cast

from netlab.errors.tree import NetlabError, describe_status


class SandboxError(NetlabError):
    """The lab's namespaces, its links or its PID 1 failed."""


class WiringError(SandboxError):
    """A segment does not carry frames from port to port."""


class ImageError(NetlabError):
    """An image could not be built, read or removed."""


class NBDError(NetlabError):
    """A disk could not be read over NBD: its server refuses, fails, sends nonsense or has ended.

    Attributes:
        export: The export, as in messages; empty when there is none yet.
        offset: Which byte of the disk it is about, or None.
        reason: The message without them.
        errno: The server's number for it (not the host's; NBD has numbers of its own), or None
            when the connection failed, and not a single request.
    """

    def __init__(
        self,
        message: str,
        *,
        export: str = "",
        offset: int | None = None,
        errno: int | None = None,
        evidence: str | None = None,
    ) -> None:
        place = "" if offset is None else f"at byte {offset}: "
        super().__init__(
            f"NBD export {export}: {place}{message}" if export else message, evidence=evidence
        )
        self.reason = message
        self.export = export
        self.offset = offset
        self.errno = errno


class MachineError(NetlabError):
    """A QEMU or its guest failed."""


class LaunchError(MachineError):
    """QEMU did not start."""


class MachineDiedError(MachineError):
    """QEMU ended while something still needed it.

    Attributes:
        machine: The node's name.
        argv: The command line, ready to paste.
        status: The exit status; minus the signal's number if a signal ended it.
        output: The last lines that QEMU printed.
    """

    def __init__(self, machine: str, argv: Sequence[str], status: int, output: str) -> None:
        command = shlex.join(argv)
        super().__init__(
            f"{machine}: QEMU {describe_status(status)}", evidence=f"{command}\n{output}".strip()
        )
        self.machine = machine
        self.argv = tuple(argv)
        self.status = status
        self.output = output


class QMPError(MachineError):
    """QEMU's monitor protocol failed."""


class QMPCommandError(QMPError):
    """QEMU answered a command with an error.

    Attributes:
        error_class: QEMU's class, such as ``GenericError``.
        sent: The command.
        received: The answer.
    """

    def __init__(self, sent: dict[str, object], received: dict[str, object]) -> None:
        detail = _detail(received)
        super().__init__(f"QMP {sent.get('execute')}: {detail.get('desc', received)}")
        self.error_class = str(detail.get("class", ""))
        self.sent = sent
        self.received = received


class QMPProtocolError(QMPError):
    """QEMU sent what is not QMP."""


class QMPClosedError(QMPError):
    """The connection ended while an answer was awaited."""


class AgentError(MachineError):
    """The guest agent failed."""


class AgentCommandError(AgentError):
    """The agent answered a command with an error.

    Attributes:
        error_class: The agent's class, such as ``GenericError``.
        sent: The command.
        received: The answer.
    """

    def __init__(self, sent: dict[str, object], received: dict[str, object]) -> None:
        detail = _detail(received)
        super().__init__(f"agent {sent.get('execute')}: {detail.get('desc', received)}")
        self.error_class = str(detail.get("class", ""))
        self.sent = sent
        self.received = received


class AgentProtocolError(AgentError):
    """The agent sent what is not its protocol."""


class AgentInterruptedError(AgentError):
    """The agent ended, or its guest was reset, while an answer was awaited."""


class AgentClosedError(AgentError):
    """The connection to the agent ended while an answer was awaited."""


class GuestError(MachineError):
    """The guest did not take its identity, or not the one that it was given."""


class NotReadyError(MachineError):
    """The guest did not become ready in time; the message says what it was waiting for."""


def _detail(received: dict[str, object]) -> dict[str, object]:
    error = received.get("error")
    return cast("dict[str, object]", error) if isinstance(error, dict) else {}
