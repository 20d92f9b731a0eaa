"""JUnit's XML: what continuous integration reads; and what pytest writes, read back.

There is no standard. What is written here is what Jenkins, GitLab, GitHub's actions and Azure read:
``testsuites/testsuite/testcase`` with ``failure``, ``error`` or ``skipped``, counts and times on
suites, and ``classname``, ``name``, ``file``, ``line`` and ``time`` on cases.
Source: https://github.com/testmoapp/junitxml, and the readers' own documentation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from netlab.testing.results import TESTS, Record, Result, Verdict, count

# XML 1.0, production 2 (Char): everything else cannot be written, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(record: Record) -> str:
    """Return a run as JUnit's XML."""
    root = Element("testsuites", name=_text(f"netlab test {record.topology}"))
    _add_counts(root, record.results, record.seconds)
    root.set("timestamp", _moment(record.began))
    for name, results in record.suites().items():
        began = min((each.began for each in results if each.began), default=record.began)
        suite = SubElement(root, "testsuite", name=_text(f"{record.lab}.{name}"))
        _add_counts(suite, results, sum(each.seconds for each in results))
        suite.set("timestamp", _moment(began))
        suite.set("file", _text(record.topology))
        properties = SubElement(suite, "properties")
        SubElement(properties, "property", name="lab", value=_text(record.lab))
        if record.interrupted:
            shown = _text(record.interrupted)
            SubElement(properties, "property", name="interrupted", value=shown)
        for result in results:
            _add_case(suite, result)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _add_counts(element: Element, results: Sequence[Result], seconds: float) -> None:
    counted = count(results)
    element.set("tests", str(len(results)))
    element.set("failures", str(counted["failed"]))
    element.set("errors", str(counted["error"] + counted["interrupted"]))
    element.set("skipped", str(counted["skipped"]))
    element.set("time", f"{seconds:.3f}")


def _add_case(suite: Element, result: Result) -> None:
    case = SubElement(suite, "testcase", classname=_text(result.group), name=_text(result.name))
    if result.file:
        case.set("file", _text(result.file))
    if result.line:
        case.set("line", str(result.line))
    case.set("time", f"{result.seconds:.3f}")
    if result.verdict == "passed":
        return
    if result.verdict == "skipped":
        SubElement(case, "skipped", message=_text(result.message))
        return
    tag = "failure" if result.verdict == "failed" else "error"
    told = SubElement(case, tag, message=_text(result.message), type=result.verdict)
    told.text = _text("\n".join(filter(None, (result.message, result.evidence))))


def _text(text: str) -> str:
    return _FORBIDDEN.sub("", text)


def _moment(seconds: float) -> str:
    """Return ``2026-01-31T12:00:00+00:00``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def read_pytest(text: str) -> list[Result]:
    """Return the results in the XML that pytest wrote, as ``junit_family=xunit1``.

    Raises:
        ValueError: It is not that.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"not XML: {error}") from error
    found: list[Result] = []
    for suite in root.iter("testsuite"):
        began = _read_moment(suite.get("timestamp", ""))
        for case in suite.iter("testcase"):
            result = _read_case(case, began)
            began += result.seconds
            found.append(result)
    return found


def _read_case(case: Element, began: float) -> Result:
    name, group, file = (case.get(key, "") for key in ("name", "classname", "file"))
    told = next((part for part in case if part.tag in _VERDICTS), None)
    verdict: Verdict = "passed" if told is None else _VERDICTS[told.tag]
    texts = {part.tag: (part.text or "").strip() for part in case}
    printed = [f"{tag}:\n{texts[tag]}" for tag in ("system-out", "system-err") if texts.get(tag)]
    text = "" if told is None else texts[told.tag]
    message = "" if told is None else told.get("message", "").strip()
    return Result(
        suite=TESTS,
        group=group,
        name=name,
        title=_node_id(file, group, name),
        kind="python",
        file=file,
        # pytest counts lines from 0.
        line=int(case.get("line", "-1")) + 1,
        verdict=verdict,
        began=began,
        seconds=float(case.get("time", "0")),
        message=message.partition("\n")[0],
        evidence="" if verdict in {"passed", "skipped"} else _evidence([*printed, text]),
        code=int(verdict in {"failed", "error"}),
    )


EVIDENCE_LIMIT = 64 * 1024
"""Characters of evidence that are taken over; the traceback is at the end."""

_VERDICTS: dict[str, Verdict] = {"failure": "failed", "error": "error", "skipped": "skipped"}


def _evidence(parts: Sequence[str]) -> str:
    text = "\n\n".join(parts).strip()
    return text if len(text) <= EVIDENCE_LIMIT else f"…{text[-EVIDENCE_LIMIT:]}"


def _node_id(file: str, group: str, name: str) -> str:
    """Return what pytest calls a test: ``tests/test_a.py::TestB::test_c``."""
    module = file.removesuffix(".py").replace("/", ".")
    if not file or not group.startswith(module):
        return name
    classes = group[len(module) :].strip(".").replace(".", "::")
    return "::".join(filter(None, (file, classes, name)))


def _read_moment(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
