"""The plan of a running lab, as it is kept in the lab's folder."""

from __future__ import annotations

from netlab.errors import ControlError, InputError
from netlab.lab.folders import LabFolders
from netlab.plan.codec import from_json
from netlab.plan.model import Plan


def read_plan(folders: LabFolders) -> Plan:
    """Return what a lab was started from.

    Raises:
        ControlError: Its folder has no such file any more, or something else in it.
    """
    try:
        return from_json(folders.plan.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, InputError) as error:
        raise explain_loss(folders, error) from error


def explain_loss(folders: LabFolders, error: Exception) -> ControlError:
    """Return the error that says that a lab's plan cannot be read, and what to do.

    Args:
        folders: The lab's.
        error: Why not.
    """
    reason = error.strerror if isinstance(error, OSError) else error
    return ControlError(
        f"the plan of lab {folders.lab} cannot be read: {folders.plan}: {reason}",
        hint=f"netlab down --name {folders.lab} still takes it down; then netlab up starts it anew",
    )
