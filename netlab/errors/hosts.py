"""What the host lacks, what a program did, and what a test found."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from netlab.errors.tree import NetlabError, describe_status


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


_CONDITIONS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""What a disk is, whoever writes to it: never a bug of ours."""


@contextmanager
def explain_storage(path: Path) -> Generator[None]:
    """Turn what the kernel refuses into an error that says where and why.

    Args:
        path: What is written or read; where the kernel's error names a file, that is named.

    Raises:
        StorageError: With the path and the kernel's number.
    """
    try:
        yield
    except OSError as error:
        raise _describe(error, str(path)) from error


def explain_condition(error: BaseException) -> BaseException:
    """Return what a full disk or one that is only read caused as an error that says so."""
    if isinstance(error, OSError) and error.errno in _CONDITIONS:
        return _describe(error, "a file")
    return error


def _describe(error: OSError, path: str) -> StorageError:
    reason = error.strerror or str(error)
    return StorageError(str(error.filename or path), error.errno or 0, reason)


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
