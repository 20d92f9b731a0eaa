"""The root of the tree, and what is behind a group of errors."""

from __future__ import annotations

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
        self.message = _make_encodable(message)
        self.hint = hint
        self.evidence = None if evidence is None else _make_encodable(evidence)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


def _make_encodable(text: str) -> str:
    """Write out lone surrogates, which guests may send in JSON: no file or socket takes them."""
    return text.encode(errors="backslashreplace").decode()


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors inside nested exception groups, or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return [leaf for inner in group.exceptions for leaf in leaves(inner)]
    return [error]


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
