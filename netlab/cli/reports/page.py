"""A run as one page of HTML: no script, nothing from elsewhere, everything from guests escaped."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from netlab import __version__
from netlab.cli.drawing.model import draw
from netlab.cli.drawing.svg import write_svg
from netlab.cli.output import format_seconds
from netlab.cli.reports.lines import WORDS
from netlab.cli.reports.style import STYLE
from netlab.plan.model import Plan
from netlab.testing.results import CHECKS, SCRIPT, TESTS, Record, Result, count

_HEADINGS = {CHECKS: "Checks", TESTS: "Python tests", SCRIPT: "Script"}

# HTML, 13.2.3.5: control characters are parse errors wherever they stand.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

# Even if something were not escaped, it would not run and could not ask anybody for anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write_page(record: Record, plan: Plan, place: Path) -> str:
    """Return the page.

    Args:
        record: How the run went.
        plan: The lab, for the drawing.
        place: The file that the page will be, from which evidence is linked.
    """
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_verdict(record)}: {_text(record.lab)}</title>",
        f"<style>{STYLE}</style>",
        "</head>",
        "<body>",
        *_head(record),
        f'<div class="drawing">{write_svg(draw(plan))}</div>',
        *(part for name, each in record.suites().items() for part in _suite(name, each, place)),
        f"<footer>netlab {_text(__version__)}</footer>",
        "</body>",
        "</html>",
        "",
    ]
    return "\n".join(parts)


def _verdict(record: Record) -> str:
    if record.interrupted:
        return "interrupted"
    counted = count(record.results)
    return "failed" if counted["failed"] or counted["error"] else "passed"


def _head(record: Record) -> Iterator[str]:
    verdict = _verdict(record)
    yield f'<h1>{_text(record.lab)}: <span class="{verdict}">{verdict}</span></h1>'
    began = datetime.fromtimestamp(record.began, UTC)
    yield (
        f'<p class="about">{_text(record.topology)}, '
        f'<time datetime="{began.isoformat(timespec="seconds")}">'
        f"{began:%Y-%m-%d %H:%M:%S} UTC</time>, "
        f"{format_seconds(record.seconds)}</p>"
    )
    yield '<ul class="tally">'
    for verdict, number in count(record.results).items():
        if number:
            word = WORDS[verdict].lower()
            yield f'<li><span class="verdict {verdict}">{number}</span> {word}</li>'
    yield "</ul>"
    if record.interrupted:
        shown = _text(record.interrupted)
        yield f'<p class="stop">Interrupted while this was under way: {shown}</p>'


def _suite(name: str, results: Sequence[Result], place: Path) -> Iterator[str]:
    longest = max(result.seconds for result in results)
    total = format_seconds(sum(result.seconds for result in results))
    yield f"<h2>{_HEADINGS[name]}</h2>"
    yield "<table>"
    yield (
        '<thead><tr><th class="verdict-column">Verdict</th><th>Name</th>'
        f'<th class="kind-column">Kind</th><th class="time-column">Time, {total}</th></tr></thead>'
    )
    yield "<tbody>"
    for result in results:
        yield from _row(result, longest, place)
    yield "</tbody>"
    yield "</table>"


def _row(result: Result, longest: float, place: Path) -> Iterator[str]:
    verdict = result.verdict
    why = "".join(_why(result, place))
    yield '<tr class="explained">' if why else "<tr>"
    yield f'<td><span class="verdict {verdict}">{WORDS[verdict].lower()}</span></td>'
    yield f'<td>{_text(result.title)} <span class="place">{_text(result.place)}</span></td>'
    yield f'<td class="kind">{_text(result.kind)}</td>'
    width = 100 * result.seconds / longest if longest else 0
    bar = f'<div class="bar" style="width: {width:.1f}%"></div>'
    time = f"{format_seconds(result.seconds)}{bar}" if result.began else ""
    yield f'<td class="time"><div class="{verdict}">{time}</div></td></tr>'
    if why:
        yield f'<tr><td></td><td colspan="3">{why}</td></tr>'


def _why(result: Result, place: Path) -> Iterator[str]:
    files = _files(result.folder)
    if not (result.message or result.evidence or files):
        return
    if not (result.evidence or files):
        yield f'<div class="{result.verdict}">{_text(result.message)}</div>'
        return
    opened = " open" if result.verdict in {"failed", "error"} else ""
    yield f"<details{opened}>"
    yield f'<summary class="{result.verdict}">{_text(result.message or "evidence")}</summary>'
    if result.evidence:
        yield f"<pre>{_text(result.evidence)}</pre>"
    if files:
        links = (
            f'<li><a href="{_link(file, place)}">{_text(name)}</a></li>' for file, name in files
        )
        yield f"<ul>{''.join(links)}</ul>"
    yield "</details>"


def _files(folder: Path | None) -> list[tuple[Path, str]]:
    """Return the files in a folder of evidence, and what to call them."""
    if folder is None:
        return []
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted((path, str(path.relative_to(folder))) for path in found)


def _link(file: Path, place: Path) -> str:
    relative = os.path.relpath(file.resolve(), place.resolve().parent)
    # A name with a colon in its first part would read as a scheme.
    return html.escape(quote(f"./{relative}", errors="surrogateescape"))


def _text(text: str) -> str:
    return html.escape(_CONTROL.sub("\ufffd", text))
