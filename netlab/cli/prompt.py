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
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, final

import trio

from netlab.cli.failure import INTERRUPTED, make_printable, render
from netlab.errors import NetlabError, leaves
from netlab.lab.folders import LabFolders
from netlab.lab.remote import open_remote
from netlab.testing.facade.symbols import pythonize
from netlab.testing.lab import LabDriver

T = TypeVar("T")

_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def run_prompt(folders: LabFolders, *, plain: bool) -> int:
    """Read and run Python until its end; return the exit code.

    Args:
        folders: The lab's.
        plain: Python's own prompt, although IPython is installed.

    Raises:
        ControlError: The lab does not answer.
    """
    with _open_trio(folders) as (lab, runner):
        names = make_names(lab)
        _tell_shared_names(lab)
        if not sys.stdin.isatty():
            return _run_all(sys.stdin.read(), names, runner)
        if not plain and find_spec("IPython") is not None:
            return _run_ipython(lab, names, runner)
        with _open_history(folders.state.parent.parent / "shell_history", names):
            try:
                _Prompt(names, runner).interact(banner=_banner(lab), exitmsg="")
            except SystemExit as error:
                return _code(error)
    return 0


def make_names(lab: LabDriver) -> dict[str, Any]:
    """Return what the prompt knows by name; a node's name wins over the others.

    A name that several nodes would have in Python means none of them: they are ``lab["1a"]``.
    """
    shared = find_shared_names(lab)
    nodes = {name: node for node in lab if (name := pythonize(node.name)) not in shared}
    return {"__name__": "__console__", "lab": lab, "link": lab.link, "trio": trio, **nodes}


def find_shared_names(lab: LabDriver) -> dict[str, list[str]]:
    """Return the names in Python that several nodes would have, and whose they are."""
    names: dict[str, list[str]] = {}
    for node in lab:
        names.setdefault(pythonize(node.name), []).append(node.name)
    return {name: nodes for name, nodes in names.items() if len(nodes) > 1}


def _tell_shared_names(lab: LabDriver) -> None:
    for name, nodes in find_shared_names(lab).items():
        said = ", ".join(f'lab["{node}"]' for node in nodes)
        print(make_printable(f"{name} would be several nodes: {said}"), file=sys.stderr)


def _banner(lab: LabDriver) -> str:
    shared = find_shared_names(lab)
    nodes = ", ".join(
        f'lab["{node.name}"]' if pythonize(node.name) in shared else pythonize(node.name)
        for node in lab
    )
    return make_printable(
        f"lab {lab.lab.plan.lab}: {nodes}; lab, link(a, b), trio\n"
        f"await {nodes.partition(', ')[0]}.succeed('ip -br addr')   "
        "Ctrl-C ends what is awaited, Ctrl-D leaves"
    )


@final
class _Runner:
    """Runs coroutines in Trio's thread for the main thread."""

    def __init__(self, tasks: trio.Nursery, stop: trio.Event) -> None:
        self._tasks = tasks
        self._stop = stop
        self._token = trio.lowlevel.current_trio_token()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it to its end and return what it returns.

        Raises:
            KeyboardInterrupt: Ctrl-C was typed; it has ended all the same.
        """
        ended: queue.SimpleQueue[tuple[BaseException | None, list[T]]] = queue.SimpleQueue()
        scope = trio.CancelScope()

        async def job() -> None:
            failure: BaseException | None = None
            values: list[T] = []
            try:
                with scope:
                    values.append(await coroutine)
            except BaseException as error:  # noqa: BLE001 # raised in the thread that asked
                failure = error
            if scope.cancelled_caught:
                failure = KeyboardInterrupt()
            ended.put((failure, values))

        self._token.run_sync_soon(self._tasks.start_soon, job)
        while True:
            try:
                failure, values = ended.get()
                break
            except KeyboardInterrupt:
                self._token.run_sync_soon(scope.cancel)
        if failure is not None:
            raise failure
        return values[0]

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


def _run_ipython(lab: LabDriver, names: dict[str, Any], runner: _Runner) -> int:
    """Be IPython, whose cells await in Trio's thread (``loop_runner``, IPython's autoawait)."""
    ipython: Any = import_module("IPython.terminal.embed")
    shell = ipython.InteractiveShellEmbed(banner1=_banner(lab), banner2="", user_ns=names)
    shell.confirm_exit = False
    shell.autoawait = True
    shell.loop_runner = runner.run
    shell.set_custom_exc((NetlabError, trio.Cancelled), _tell_ipython)
    shell()
    return 0


def _tell_ipython(
    _shell: object, _kind: object, error: BaseException, *_rest: object, **_options: object
) -> None:
    if isinstance(error, trio.Cancelled):
        # IPython has caught it before our scope could: what Ctrl-C means is said all the same.
        print("\nKeyboardInterrupt")
    else:
        _show(error)


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
