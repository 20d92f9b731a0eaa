"""What of an error is shown: the one that explains the others, and the lines of who ran into it."""

from __future__ import annotations

from types import TracebackType

from netlab.errors import MachineDiedError, NetlabError, SandboxError, leaves

_MACHINERY = frozenset({
    "netlab",
    "contextlib",
    "trio",
    "outcome",
    "pytest_trio",
    "_pytest",
    "pluggy",
})
"""Modules that a test is run by: their lines say nothing about why it failed."""


def find_error(error: BaseException) -> BaseException:
    """Return the one error that a group holds; of several of a lab's the one that explains them."""
    found = leaves(error)
    if len(found) == 1:
        return found[0]
    if not all(isinstance(each, NetlabError) for each in found):
        return error
    # With the sandbox end the machines, and with a machine what is asked of it.
    ranks = (SandboxError, MachineDiedError, NetlabError)
    return next(each for rank in ranks for each in found if isinstance(each, rank))


def users_lines(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the lines of what runs a test; None when no other are left."""
    kept: list[TracebackType] = []
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in _MACHINERY:
            kept.append(traceback)
        traceback = traceback.tb_next
    shown = None
    for each in reversed(kept):
        shown = TracebackType(shown, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return shown
