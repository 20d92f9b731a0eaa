"""The prompt of `netlab shell`: Python in the main thread, Trio in another.

The main thread is who gets Ctrl-C and who may use readline. What is awaited runs in Trio's thread
under a cancel scope of its own, which Ctrl-C cancels.
"""

from __future__ import annotations

import ast
import code
import inspect
import queue
import sys
import threading
import types
from collections.abc import Coroutine, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, final

import trio

from netlab.cli.failure import INTERRUPTED, make_printable, render
from netlab.errors import NetlabError, leaves
from netlab.lab.folders import LabFolders
from netlab.lab.remote import open_remote
from netlab.testing.facade.symbols import pythonize
from netlab.testing.lab import LabDriver

_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def run_prompt(folders: LabFolders) -> int:
    """Read and run Python until its end; return the exit code.

    Raises:
        ControlError: The lab does not answer.
    """
    with _open_trio(folders) as (lab, runner):
        names = make_names(lab)
        if not sys.stdin.isatty():
            return _run_all(sys.stdin.read(), names, runner)
        with _open_history(folders.state.parent.parent / "shell_history", names):
            try:
                _Prompt(names, runner).interact(banner=_banner(lab), exitmsg="")
            except SystemExit as error:
                return _code(error)
    return 0


def make_names(lab: LabDriver) -> dict[str, Any]:
    """Return what the prompt knows by name; a node's name wins over the others."""
    nodes = {pythonize(node.name): node for node in lab}
    return {"__name__": "__console__", "lab": lab, "link": lab.link, "trio": trio, **nodes}


def _banner(lab: LabDriver) -> str:
    nodes = ", ".join(pythonize(node.name) for node in lab)
    return make_printable(
        f"lab {lab.lab.plan.lab}: {nodes}; lab, link(a, b), trio\n"
        f"await {pythonize(next(iter(lab)).name)}.succeed('ip -br addr')   "
        "Ctrl-C ends what is awaited, Ctrl-D leaves"
    )


@final
class _Runner:
    """Runs coroutines in Trio's thread for the main thread."""

    def __init__(self, tasks: trio.Nursery, stop: trio.Event) -> None:
        self._tasks = tasks
        self._stop = stop
        self._token = trio.lowlevel.current_trio_token()

    def run(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Run it to its end.

        Raises:
            KeyboardInterrupt: Ctrl-C was typed; it has ended all the same.
        """
        ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        scope = trio.CancelScope()

        async def job() -> None:
            failure: BaseException | None = None
            try:
                with scope:
                    await coroutine
            except BaseException as error:  # noqa: BLE001 # raised in the thread that asked
                failure = error
            if scope.cancelled_caught:
                failure = KeyboardInterrupt()
            ended.put(failure)

        self._token.run_sync_soon(self._tasks.start_soon, job)
        while True:
            try:
                failure = ended.get()
                break
            except KeyboardInterrupt:
                self._token.run_sync_soon(scope.cancel)
        if failure is not None:
            raise failure

    def stop(self) -> None:
        """End Trio's thread."""
        self._token.run_sync_soon(self._stop.set)


@contextmanager
def _open_trio(folders: LabFolders) -> Generator[tuple[LabDriver, _Runner]]:
    """Use a lab from the main thread."""
    begun: queue.SimpleQueue[tuple[LabDriver, _Runner] | BaseException] = queue.SimpleQueue()

    async def serve() -> None:
        async with open_remote(folders) as lab, trio.open_nursery() as tasks:
            stop = trio.Event()
            begun.put((LabDriver(lab), _Runner(tasks, stop)))
            await stop.wait()
            tasks.cancel_scope.cancel()

    def run() -> None:
        try:
            trio.run(serve)
        except BaseException as error:  # noqa: BLE001 # raised in the main thread
            begun.put(error)

    thread = threading.Thread(target=run, name="trio", daemon=True)
    thread.start()
    found = begun.get()
    if isinstance(found, BaseException):
        raise found
    try:
        yield found
    finally:
        found[1].stop()
        thread.join()


@final
class _Prompt(code.InteractiveConsole):
    """A console that awaits."""

    def __init__(self, names: dict[str, Any], runner: _Runner) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= _FLAGS
        self._names = names
        self._runner = runner

    def runcode(self, code: types.CodeType) -> None:
        """Run what was typed, and show what it raises."""
        try:
            _execute(code, self._names, self._runner)
        except SystemExit:
            raise
        except KeyboardInterrupt:
            self.write("\nKeyboardInterrupt\n")
        except BaseException as error:  # noqa: BLE001 # whatever it is, the prompt comes back
            if not _show(error):
                self.showtraceback()


def _execute(compiled: types.CodeType, names: dict[str, Any], runner: _Runner) -> None:
    result = types.FunctionType(compiled, names)()
    if inspect.iscoroutine(result):
        runner.run(result)


def _show(error: BaseException) -> bool:
    """Show netlab's own errors without a traceback; return whether all were."""
    found = leaves(error)
    known = [each for each in found if isinstance(each, NetlabError)]
    if len(known) != len(found):
        return False
    for each in known:
        print(render(each), file=sys.stderr)
    return True


def _run_all(text: str, names: dict[str, Any], runner: _Runner) -> int:
    try:
        _execute(compile(text, "<stdin>", "exec", _FLAGS, dont_inherit=True), names, runner)
    except SystemExit as error:
        return _code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseException as error:  # noqa: BLE001 # the user's own code: a traceback is of use
        if not _show(error):
            sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


def _code(error: SystemExit) -> int:
    return error.code if isinstance(error.code, int) else int(error.code is not None)


@contextmanager
def _open_history(path: Path, names: dict[str, Any]) -> Generator[None]:
    """Edit lines, complete names and remember what was typed, where Python has readline."""
    try:
        import readline
        import rlcompleter
    except ImportError:
        yield
        return
    readline.set_completer(rlcompleter.Completer(names).complete)
    readline.parse_and_bind("tab: complete")
    with suppress(OSError):
        readline.read_history_file(path)
    try:
        yield
    finally:
        readline.set_history_length(1000)
        with suppress(OSError):
            readline.write_history_file(path)
