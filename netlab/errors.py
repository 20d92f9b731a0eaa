"""Every error that netlab raises on purpose, in one tree.

The class says whose matter it is, and that decides the exit code::

    NetlabError                      4   a machine or netlab itself failed
    ├── InputError                   2   what the user gave is wrong
    │   ├── TopologyError                all mistakes of a file, with positions
    │   ├── ConfigurationError           all mistakes of a Proxmox configuration
    │   ├── UsageError                   the command line asks for something that cannot be
    │   ├── UnknownNameError             no such lab, node, interface, image
    │   ├── NotOfferedError              a script asks for what netlab does not have
    │   ├── LabConflictError             a lab of that name is up from another plan
    │   └── ArchiveError                 a VMA archive is damaged, or cannot be made as asked
    ├── HostError                    3   the host lacks something
    │   ├── MissingProgramError          a program is not installed
    │   ├── MissingFeatureError          the kernel or a device does not offer it
    │   ├── CapacityError                not enough memory, disk or descriptors
    │   └── StorageError                 a file or a device cannot be read or written
    ├── CheckError                   1   a test or a check failed; nothing is broken
    │   ├── CommandError                 a command in a guest did not end as expected
    │   ├── WaitError                    what was waited for did not come in time
    │   └── ConditionError               what had to stay true did not
    ├── ProgramError                 4   a helper program failed
    ├── SandboxError                 4   the lab's namespaces, links or PID 1 failed
    │   └── WiringError                  a segment does not carry frames
    ├── ImageError                   4   an image could not be built or read
    ├── NBDError                     4   a disk could not be read over NBD
    ├── MachineError                 4   a QEMU or its guest failed
    │   ├── LaunchError                  QEMU did not start
    │   ├── MachineDiedError             QEMU ended while it was needed
    │   ├── QMPError
    │   │   ├── QMPCommandError          QEMU answered with an error
    │   │   ├── QMPProtocolError         QEMU answered with nonsense
    │   │   └── QMPClosedError           the connection ended
    │   ├── AgentError
    │   │   ├── AgentCommandError        the agent answered with an error
    │   │   ├── AgentProtocolError       the agent answered with nonsense
    │   │   ├── AgentInterruptedError    the agent ended, or its guest booted again
    │   │   └── AgentClosedError         the connection ended
    │   ├── GuestError                   the guest did not take its identity
    │   └── NotReadyError                the guest did not become ready in time
    ├── ProxmoxError                 4   a Proxmox host refused, or did not answer as it should
    │   ├── CertificateError             it is not the host that it was said to be
    │   └── ProxmoxTaskError             a task there failed; the evidence is its log
    └── ControlError                 4   the lab process did not answer as it should

An error carries a message (what is wrong), a hint (what to do), evidence (output, a command line,
the last lines of a console) and the fields of its class.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast


class NetlabError(Exception):
    """The root of the tree.

    Attributes:
        message: What is wrong, and where.
        hint: What to do about it, or None.
        evidence: Output or state that shows it, possibly several lines, or None.
        exit_code: What a command that ends by this error returns to the shell.
    """

    exit_code = 4

    def __init__(
        self, message: str, *, hint: str | None = None, evidence: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.evidence = evidence

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InputError(NetlabError):
    """What the user gave is wrong."""

    exit_code = 2


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake in a file, printed as ``file:line:column: path: message (hint)``.

    Attributes:
        file: The file's name as the user gave it.
        line: Counted from 1; 0 when the mistake is the file's and not a line's.
        column: Counted from 1; 0 likewise.
        path: Where in the document, such as ``links[2].endpoints``; empty for the whole.
        message: What is wrong.
        hint: What to do, or empty.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    @property
    def text(self) -> str:
        """All of it but the position in the file."""
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.message}" + (f" ({self.hint})" if self.hint else "")

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.text}"


class TopologyError(InputError):
    """All mistakes of a topology, in the order of their positions."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))


class ConfigurationError(InputError):
    """All mistakes of a virtual machine's configuration for Proxmox, in the order of its lines."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))


class UsageError(InputError):
    """The command line asks for something that cannot be."""


class UnknownNameError(InputError):
    """No lab, node, interface or image has that name."""


class NotOfferedError(InputError):
    """A script asks for what netlab does not have.

    Attributes:
        name: What it asks for.
        alternative: What to do in its place.
    """

    def __init__(self, name: str, alternative: str) -> None:
        super().__init__(f"netlab does not offer {name}", hint=alternative)
        self.name = name
        self.alternative = alternative


class LabConflictError(InputError):
    """A lab of that name is up from another plan."""


class ArchiveError(InputError):
    """A VMA archive is damaged, or cannot be made as asked.

    Attributes:
        offset: Bytes from the archive's beginning to what is wrong, or None when it is no place.
        extent: The number of the extent that it is in, counted from 0; None outside of extents.
    """

    def __init__(
        self,
        message: str,
        *,
        offset: int | None = None,
        extent: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.offset = offset
        self.extent = extent


class HostError(NetlabError):
    """The host lacks something."""

    exit_code = 3


class MissingProgramError(HostError):
    """A program is not installed.

    Attributes:
        program: Its name.
        package: The Debian package that has it.
    """

    def __init__(self, program: str, package: str) -> None:
        super().__init__(
            f"{program} is not installed", hint=f"apt-get install --no-install-recommends {package}"
        )
        self.program = program
        self.package = package


class MissingFeatureError(HostError):
    """The kernel or a device does not offer what the lab needs."""


class CapacityError(HostError):
    """The host has not enough memory, disk space or descriptors."""


class StorageError(HostError):
    """A file or a device cannot be read or written.

    Attributes:
        path: Which.
        errno: The kernel's number for the reason, such as ENOSPC.
    """

    def __init__(self, path: str, errno: int, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{path}: {reason} (errno {errno})", hint=hint)
        self.path = path
        self.errno = errno


class CheckError(NetlabError):
    """A test or a check failed; nothing is broken."""

    exit_code = 1


class CommandError(CheckError):
    """A command in a guest did not end as expected; the evidence is its output."""


class WaitError(CheckError):
    """What was waited for did not come in time; the message has what the last look showed."""


class ConditionError(CheckError):
    """What had to stay true while something else was done did not."""


class ProgramError(NetlabError):
    """A helper program failed.

    Attributes:
        argv: Its command line.
        status: Its exit status; minus the signal's number if a signal ended it.
        output: What it printed.
    """

    def __init__(self, argv: Sequence[str], status: int, output: str) -> None:
        super().__init__(
            f"{argv[0]} {describe_status(status)}", evidence=f"{shlex.join(argv)}\n{output}".strip()
        )
        self.argv = tuple(argv)
        self.status = status
        self.output = output


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


class ProxmoxError(NetlabError):
    """A Proxmox host refused what it was asked, or did not answer as it should.

    Attributes:
        status: The HTTP status of its answer, or 0 if there was none.
    """

    def __init__(
        self, message: str, *, status: int = 0, hint: str | None = None, evidence: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, evidence=evidence)
        self.status = status


class CertificateError(ProxmoxError):
    """The certificate is not the one that was pinned, or nobody vouches for it."""


class ProxmoxTaskError(ProxmoxError):
    """A task on a Proxmox host failed; the evidence is its log."""


class ControlError(NetlabError):
    """The lab process did not answer as it should."""


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors inside nested exception groups, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return [leaf for inner in group.exceptions for leaf in leaves(inner)]
    return [error]


def _detail(received: dict[str, object]) -> dict[str, object]:
    error = received.get("error")
    return cast("dict[str, object]", error) if isinstance(error, dict) else {}


def describe_status(status: int) -> str:
    """Say how a process ended: ``exited with status 1`` or ``was killed by SIGKILL``.

    Args:
        status: Its exit status; minus the signal's number if a signal ended it.
    """
    if status >= 0:
        return f"exited with status {status}"
    # Imported here: start-up is a feature, and this is the road of failure.
    import signal

    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"
