"""Where a run is written down: files that are whole or not there, and standard output."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from netlab.cli.files import write_text
from netlab.cli.journal import to_plain
from netlab.cli.options import Format
from netlab.cli.output import format_seconds, write_json
from netlab.errors import UsageError
from netlab.plan.model import Plan
from netlab.testing.results import Record, summarize


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where a run is written down.

    Attributes:
        junit: JUnit's XML, or None.
        page: The page, or None.
        artifacts: The folder of evidence, or None.
        format: What is written to standard output.
    """

    junit: Path | None
    page: Path | None
    artifacts: Path | None
    format: Format

    @property
    def stream(self) -> TextIO:
        """Where lines for people go."""
        return sys.stderr if self.format is Format.json else sys.stdout

    def prepare(self) -> None:
        """Make the folders: what cannot be written is known before anything is started.

        Raises:
            UsageError: One cannot be made.
        """
        parents = [path.parent for path in (self.junit, self.page) if path is not None]
        for folder in [*parents, *filter(None, [self.artifacts])]:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"{folder}: cannot be made: {error.strerror}") from error

    def write(self, record: Record, plan: Plan) -> None:
        """Write all of them, and say what it came to.

        Raises:
            UsageError: A file cannot be written.
        """
        # Imported here: most runs are for the one who looks.
        if self.junit is not None:
            from netlab.cli.reports.junit import write_junit

            write_text(write_junit(record), self.junit)
        if self.page is not None:
            from netlab.cli.reports.page import write_page

            write_text(write_page(record, plan, self.page), self.page)
        if self.format is Format.json:
            write_json(to_plain(record))
        told = f"{record.lab}: {summarize(record.results)} in {format_seconds(record.seconds)}"
        print(f"{told}, interrupted" if record.interrupted else told, file=self.stream)
