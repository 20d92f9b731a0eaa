"""A run as lines, as JUnit's XML and as a page: right, whole, and inert whatever guests say."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.cli.reports.junit import read_pytest, write_junit
from netlab.cli.reports.lines import open_lines
from netlab.cli.reports.page import write_page
from netlab.testing.results import Record, Result, Verdict, summarize
from tests.cli.plans import make_plan

PLAN = make_plan("lab", ["a", "b"], [("a", "b")])
EVIL = "<script>alert(1)</script>\x1b[31m\x00\"'&<!-- ]]>"


def make_result(verdict: Verdict, name: str = "a pings b", **fields: object) -> Result:
    result = Result(
        suite="checks",
        group="lab",
        name=name,
        title=name,
        kind="ping",
        file="lab.yaml",
        line=7,
        verdict=verdict,
        began=1_800_000_000.0,
        seconds=1.25,
        message="" if verdict == "passed" else "they do not",
    )
    return replace(result, **fields)


TEST = make_result(
    "failed",
    "test_x[1]",
    suite="tests",
    group="tests.test_a.TestB",
    title="tests/test_a.py::TestB::test_x[1]",
    file="tests/test_a.py",
)
RECORD = Record(
    lab="lab",
    topology="lab.yaml",
    began=1_799_999_990.0,
    seconds=12.0,
    results=(
        make_result("passed"),
        make_result("failed", "b pings a", evidence="two\nlines"),
        make_result("error", "a: x", kind="command"),
        make_result("skipped", "a: y", began=0.0, seconds=0.0),
        TEST,
    ),
)


def test_junit_has_what_continuous_integration_reads() -> None:
    root = ElementTree.fromstring(write_junit(RECORD))
    assert root.tag == "testsuites"
    assert {key: root.get(key) for key in ("tests", "failures", "errors", "skipped", "time")} == {
        "tests": "5", "failures": "2", "errors": "1", "skipped": "1", "time": "12.000",
    }  # fmt: skip
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites] == ["lab.checks", "lab.tests"]
    for suite in suites:
        cases = suite.findall("testcase")
        assert int(suite.get("tests", "")) == len(cases)
        for attribute, tag in (
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            assert int(suite.get(attribute, "")) == len(suite.findall(f"testcase/{tag}"))
        times = [float(case.get("time", "")) for case in cases]
        assert float(suite.get("time", "")) == pytest.approx(sum(times))
        assert datetime.fromisoformat(suite.get("timestamp", "")).timestamp() == 1_800_000_000
    cases = root.findall("testsuite/testcase")
    assert cases[0].attrib == {
        "classname": "lab", "name": "a pings b", "file": "lab.yaml", "line": "7", "time": "1.250",
    }  # fmt: skip
    assert [[child.tag for child in case] for case in cases] == [
        [], ["failure"], ["error"], ["skipped"], ["failure"],
    ]  # fmt: skip
    failure = cases[1][0]
    assert (failure.get("message"), failure.text) == ("they do not", "they do not\ntwo\nlines")
    assert cases[4].get("classname") == "tests.test_a.TestB"


def test_an_interrupted_run_is_marked_in_junit() -> None:
    stopped = make_result("interrupted", "a: sleep")
    record = replace(RECORD, results=(stopped,), interrupted="a: sleep")
    root = ElementTree.fromstring(write_junit(record))
    assert root.get("errors") == "1"
    (found,) = root.findall("testsuite/properties/property[@name='interrupted']")
    assert found.get("value") == "a: sleep"
    (error,) = root.findall("testsuite/testcase/error")
    assert error.get("type") == "interrupted"


@given(st.text(), st.text())
def test_junit_is_xml_whatever_is_said(message: str, evidence: str) -> None:
    result = make_result("failed", f"n{message}", message=message, evidence=evidence)
    root = ElementTree.fromstring(write_junit(replace(RECORD, results=(result,))))
    text = "".join(root.itertext())
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", text)


PYTEST = """<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests">
<testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4" time="1.6"
 timestamp="2026-01-31T12:00:00+00:00" hostname="h">
<testcase classname="tests.test_a.TestB" name="test_x[a::b]" file="tests/test_a.py" line="3"
 time="0.5"/>
<testcase classname="tests.test_a" name="test_y" file="tests/test_a.py" line="8" time="1.0">
<failure message="assert 1 == 2&#10; more">E assert 1 == 2</failure><system-out>said</system-out>
</testcase>
<testcase classname="tests.test_a" name="test_z" file="tests/test_a.py" line="9" time="0.1">
<skipped type="pytest.skip" message="no need">here</skipped></testcase>
<testcase classname="" name="tests.test_b" time="0.0">
<error message="collection failure">E x</error></testcase></testsuite></testsuites>"""


def test_what_pytest_writes_is_read_back() -> None:
    passed, failed, skipped, broken = read_pytest(PYTEST)
    assert (passed.title, passed.line) == ("tests/test_a.py::TestB::test_x[a::b]", 4)
    assert (passed.verdict, passed.seconds, passed.code) == ("passed", 0.5, 0)
    assert (failed.verdict, failed.message, failed.code) == ("failed", "assert 1 == 2", 1)
    assert failed.evidence == "system-out:\nsaid\n\nE assert 1 == 2"
    assert failed.began - passed.began == pytest.approx(0.5)
    assert (skipped.verdict, skipped.message, skipped.evidence) == ("skipped", "no need", "")
    assert (broken.title, broken.verdict, broken.file) == ("tests.test_b", "error", "")
    again = ElementTree.fromstring(write_junit(replace(RECORD, results=(passed, failed))))
    assert again.find("testsuite/testcase[@line='9']/failure") is not None


def test_what_is_not_xml_is_refused() -> None:
    with pytest.raises(ValueError, match="not XML"):
        read_pytest("<testsuites>")


class Page(HTMLParser):
    """Reads a page as a browser does, and notes what matters."""

    VOID = frozenset(("meta",))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(record: Record, place: Path = Path("report.html")) -> Page:
    page = Page(write_page(record, PLAN, place))
    assert page.open == []
    return page


def test_the_page_shows_everything_and_asks_nobody() -> None:
    page = read_page(RECORD)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.tags)
    addresses = [value for name, value in page.attributes if name in {"src", "href", "xlink:href"}]
    assert addresses == []
    assert "svg" in page.tags
    assert "lab: failed" in page.text
    for result in RECORD.results:
        assert result.title in page.text
        assert result.place in page.text
    assert "two\nlines" in page.text
    assert ("style", "width: 100.0%") in page.attributes
    assert {"details", "pre", "table"} <= set(page.tags)


def test_the_page_is_light_dark_and_printable() -> None:
    page = write_page(RECORD, PLAN, Path("report.html"))
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_what_guests_say_is_inert_on_the_page() -> None:
    result = make_result("failed", EVIL, message=EVIL, evidence=EVIL, kind=EVIL, file=EVIL)
    record = replace(RECORD, results=(result,), topology=EVIL, interrupted=EVIL)
    text = write_page(record, PLAN, Path("report.html"))
    assert "<script" not in text
    assert "\x1b" not in text
    assert "\x00" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 6
    assert "script" not in read_page(record).tags
    # And if it were not: the page forbids itself everything but its own style.
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    assert ("content", policy) in read_page(record).attributes


@given(st.text())
def test_the_page_is_well_formed_whatever_is_said(said: str) -> None:
    result = make_result("failed", said, message=said, evidence=said)
    page = read_page(replace(RECORD, results=(result,)))
    assert page.tags.count("tr") == 3 or not said


def test_evidence_is_linked_from_where_the_page_is(tmp_path: Path) -> None:
    folder = tmp_path / "evidence/a b"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/x:y <&>.txt").write_text("x")
    (folder / "console.log").write_text("x")
    (folder / "outside").symlink_to("/etc/passwd")
    place = tmp_path / "reports/report.html"
    place.parent.mkdir()
    result = make_result("failed", folder=folder)
    page = read_page(replace(RECORD, results=(result,)), place)
    links = [value for name, value in page.attributes if name == "href"]
    assert links == [
        "./../evidence/a%20b/console.log",
        "./../evidence/a%20b/deep/x%3Ay%20%3C%26%3E.txt",
    ]


def test_lines_say_the_verdict_the_time_and_why() -> None:
    stream = io.StringIO()
    with open_lines(stream) as lines:
        lines.begin("a pings b")
        for result in RECORD.results[:2]:
            lines.show(result)
        lines.show(make_result("failed", EVIL, evidence="\n".join(map(str, range(50)))))
    shown = stream.getvalue().splitlines()
    assert shown[:5] == [
        "passed      1.2 s  a pings b",
        "FAILED      1.2 s  b pings a",
        "         lab.yaml:7: they do not",
        "           | two",
        "           | lines",
    ]
    assert "\x1b" not in stream.getvalue()
    assert shown[-1] == "           … 38 more lines"


def test_a_summary_leaves_out_what_there_is_none_of() -> None:
    assert summarize(RECORD.results) == "1 passed, 2 failed, 1 with errors, 1 skipped"
    assert summarize(()) == "nothing was run"
