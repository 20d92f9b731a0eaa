"""How errors look on a terminal, and which exit code they give."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Iterable
from typing import TextIO

import typer

from netlab.errors import NetlabError, TopologyError, explain_condition, leaves

INTERRUPTED = 130
BROKEN_PIPE = 141
BUG = 4


def report(error: BaseException, stream: TextIO | None = None) -> int:
    """Print an error and return the exit code that it gives.

    Exception groups are unwrapped here, once. Each error in them is printed; the exit code is the
    gravest one: an interruption before everything, then the highest number.

    Args:
        error: What ended the program.
        stream: Where to print; standard error when None.
    """
    output: TextIO = sys.stderr if stream is None else stream
    found = [explain_condition(leaf) for leaf in leaves(error)]
    interrupted = any(isinstance(leaf, KeyboardInterrupt) for leaf in found)
    told = io.StringIO()
    codes = [_report_leaf(leaf, told) for leaf in _distinct(found)]
    _tell(told.getvalue(), output)
    _flush_stdout()
    return INTERRUPTED if interrupted else max(codes)


def _distinct(errors: Iterable[BaseException]) -> list[BaseException]:
    """One of each: six nodes that fail alike need one message."""
    return list({(type(error), str(error)): error for error in errors}.values())


def _report_leaf(error: BaseException, stream: TextIO) -> int:
    match error:
        case typer.Exit():
            return error.exit_code
        case SystemExit():
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        case KeyboardInterrupt() | typer.Abort():
            print("netlab: interrupted", file=stream)
            return INTERRUPTED
        case BrokenPipeError():
            _silence(sys.stdout)
            return BROKEN_PIPE
        case NetlabError():
            print(render(error), file=stream)
            return error.exit_code
        case typer.TyperException():
            return _report_usage(error, stream)
        case _:
            return _report_bug(error, stream)


def render(error: NetlabError) -> str:
    """Return what the user reads: the message, what to do, and the evidence.

    The mistakes of a topology are printed alone, one a line, as a compiler does.
    """
    if isinstance(error, TopologyError):
        return make_printable(error.message)
    lines = [f"netlab: {error.message}"]
    if error.hint:
        lines.append(f"  {error.hint}")
    if error.evidence:
        lines += ["", *(f"    {line}" for line in error.evidence.splitlines())]
    return make_printable("\n".join(lines))


def make_printable(text: str) -> str:
    """Replace what a terminal would act on: names and consoles are not ours to trust."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )


def _report_usage(error: typer.TyperException, stream: TextIO) -> int:
    print(f"netlab: {make_printable(error.format_message())}", file=stream)
    context = getattr(error, "ctx", None)
    if context is not None:
        print(f"  `{context.command_path} --help` shows how it is used", file=stream)
    return error.exit_code


def _report_bug(error: BaseException, stream: TextIO) -> int:
    traceback.print_exception(error, file=stream)
    print(
        f"netlab: {type(error).__name__}: this is a bug in netlab; the lines above say where",
        file=stream,
    )
    return BUG


def _tell(text: str, stream: TextIO) -> None:
    """Print what went wrong; where nobody can be told, the exit code still says it."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        _silence(stream)


def _flush_stdout() -> None:
    """Bring out what was printed; a disk that was too full for it is so at the end of us, too."""
    try:
        sys.stdout.flush()
    except OSError:
        _silence(sys.stdout)


def _silence(stream: TextIO) -> None:
    """Keep the interpreter from complaining once more when it flushes at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
