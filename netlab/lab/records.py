"""Errors as JSON, and back: how a lab process tells its clients what went wrong."""

from __future__ import annotations

from netlab import errors
from netlab.errors import ControlError, NetlabError

_CLASSES = {
    value.__name__: value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, NetlabError)
}


def to_record(error: BaseException) -> dict[str, object]:
    """Return what a client needs to raise the same error again."""
    if isinstance(error, NetlabError):
        return {
            "class": type(error).__name__,
            "message": error.message,
            "hint": error.hint,
            "evidence": error.evidence,
        }
    return {"class": "NetlabError", "message": repr(error), "hint": None, "evidence": None}


def from_record(record: dict[str, object]) -> NetlabError:
    """Return the error that :func:`to_record` described: same class, message, hint, evidence."""
    known = _CLASSES.get(str(record.get("class")), ControlError)
    # Some classes make their message from their fields; the message is here already.
    error = known.__new__(known)
    NetlabError.__init__(
        error,
        str(record.get("message")),
        hint=_text(record.get("hint")),
        evidence=_text(record.get("evidence")),
    )
    return error


def _text(value: object) -> str | None:
    return None if value is None else str(value)
