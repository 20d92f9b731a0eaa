"""A bar on a terminal for what takes long: what is done now, bytes, rate and time left."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from netlab.cli.failure import make_printable

_WIDTH = 20
"""Letters of a bar: a terminal of 80 has room for what is done beside it."""

Show = Callable[[str, int, int], None]
"""Takes what is done now, how many bytes of it are done, and of how many: 0 if nobody knows."""


@contextmanager
def open_bar(about: str = "") -> Generator[Show]:
    """Show a bar on standard error, which is a terminal, while the block runs.

    Args:
        about: What is done at first.
    """
    # Imported here: only a terminal needs it.
    from rich import progress as bars
    from rich.console import Console, RenderableType

    class Sized(bars.ProgressColumn):
        """A column that is empty for what has no size."""

        def __init__(self, column: bars.ProgressColumn) -> None:
            super().__init__()
            self._column = column

        def render(self, task: bars.Task) -> RenderableType:
            return self._column.render(task) if task.total else ""

    size, speed = bars.DownloadColumn(binary_units=True), bars.TransferSpeedColumn()
    figures = (bars.BarColumn(_WIDTH), size, speed, bars.TimeRemainingColumn())
    # What is long is cut at its end: figures come first.
    columns = (*map(Sized, figures), bars.TextColumn("{task.description}", markup=False))
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(make_printable(about), total=None)
        last, before = about, 0

        def show(about: str, done: int, total: int) -> None:
            nonlocal last, before, task
            if about != last or done < before:
                # Another one: the rate and the time left are its own.
                bar.remove_task(task)
                task = bar.add_task(make_printable(about), total=None)
            last, before = about, done
            bar.update(task, completed=done, total=total or None)

        yield show
