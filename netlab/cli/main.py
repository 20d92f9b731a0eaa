"""The console entry: parse, call, and the one handler for all errors.

Start-up is a feature. Nothing is imported here that a verb might not need; `netlab exec` gets by
without pydantic, yaml, rich, trio and httpx, and a test watches over that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from io import TextIOWrapper

COMPLETE_VARIABLE = "_NETLAB_COMPLETE"
"""Set by the completion scripts: print candidates for the last word and do nothing else."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run netlab and return its exit code: 0, 1, 2, 3, 4, 130, or the guest's for `exec`.

    Args:
        arguments: The words after the program's name; those of the process when None.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _open_missing()
    _spell_out()
    try:
        code = _run(words)
        sys.stdout.flush()
    # The edge of the program: whatever comes is reported, never shown as a bare traceback.
    except BaseException as error:  # noqa: BLE001
        from netlab.cli.failure import report

        return report(error)
    return code


def _open_missing() -> None:
    """Give the standard streams that whoever started us closed a place: nowhere.

    The first number that is free is theirs; otherwise the next file that is opened would get it.
    It is open for what it is not for: text may go nowhere, but an archive that is written to the
    number itself must not be taken for written.
    """
    for name, mode, flags in (
        ("stdin", "r", os.O_WRONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_RDONLY),
    ):
        if getattr(sys, name) is None:
            os.open(os.devnull, flags)
            text = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(text, mode, closefd=False))


def _spell_out() -> None:
    """Let standard output write what its encoding lacks as an escape, as standard error does."""
    output: TextIOWrapper = cast("TextIOWrapper", sys.stdout)
    if output.errors == "strict":
        output.reconfigure(errors="backslashreplace")


def _run(words: list[str]) -> int:
    program = _program_name()
    if COMPLETE_VARIABLE in os.environ:
        from netlab.cli.complete import complete

        return complete(words)
    if words == ["--version"]:
        from netlab import __version__

        print(f"{program} {__version__}")
        return 0
    if not words or words[0] in {"-h", "--help"}:
        from netlab.cli.verbs import render_help

        print(render_help(program), file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    return _dispatch(program, words[0], words[1:])


def _dispatch(program: str, name: str, words: list[str]) -> int:
    from netlab.cli.frame import load_command
    from netlab.cli.verbs import find_verb

    verb = find_verb(name)
    if verb is None:
        raise _unknown_verb(name)
    command = load_command(verb)
    with command.make_context(f"{program} {name}", words) as context:
        return cast("int | None", command.invoke(context)) or 0


def _unknown_verb(name: str) -> Exception:
    import difflib

    from netlab.cli.verbs import ALIASES, VERBS
    from netlab.errors import UsageError

    close = difflib.get_close_matches(name, [*(verb.name for verb in VERBS), *ALIASES], n=1)
    return UsageError(
        f"there is no verb {name!r}",
        hint=f"did you mean {close[0]!r}?" if close else "`netlab --help` lists the verbs",
    )


def _program_name() -> str:
    name = os.path.basename(sys.argv[0])  # noqa: PTH119 # pathlib costs start-up time
    return name if name in {"netlab", "netlab-vm"} else "netlab"


if __name__ == "__main__":
    sys.exit(main())
