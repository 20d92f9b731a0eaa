"""What is said to the guest agent and what it answers, as it has to look on the wire."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from netlab.errors import AgentProtocolError, InputError


def with_environment(argv: tuple[str, ...], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return a command line that adds to the agent's environment.

    Raises:
        InputError: There is no program, or a name cannot be one.
    """
    if not argv:
        raise InputError("there is no program to run")
    if not environment:
        return argv
    # The agent would replace its whole environment by what is given.
    for name in environment:
        if not name or "=" in name:
            raise InputError(f"{name!r} cannot be the name of an environment variable")
    if "=" in argv[0]:
        raise InputError(f"{argv[0]!r}: a program with = in its name takes no environment")
    return ("env", *(f"{name}={value}" for name, value in environment.items()), *argv)


def check_text(value: str) -> str:
    """Return a text that may be part of a command line.

    Raises:
        InputError: It may not.
    """
    if "\0" in value:
        raise InputError(f"{value!r}: a zero byte cannot be passed to a program")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError(f"{value!r}: the agent takes only UTF-8") from None
    return value


def decode_base64(data: str) -> bytes:
    """Return what the agent sent.

    Raises:
        AgentProtocolError: It is not base64.
    """
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise AgentProtocolError("the agent sent what is not base64") from None
