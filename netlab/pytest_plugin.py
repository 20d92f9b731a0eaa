"""The pytest plugin: a lab for each test that asks for one.

::

    @pytest.mark.netlab("ring.yaml", vars={"metric": "10"})
    async def test_ring_heals(lab): ...

Fixtures by stage: ``topology`` (text, checked), ``plan`` (what it will be), ``lab`` (up and ready).
pytest-trio runs the tests. ``netlab help testing`` is the page about it. Everything of netlab is
imported when the first test needs it: this module is imported by every pytest of the environment.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import (
    AsyncGenerator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest

if TYPE_CHECKING:
    from netlab.plan.model import Plan
    from netlab.testing.fixtures import Case
    from netlab.testing.lab import LabDriver
    from netlab.topology.model import Topology

TIMEOUT = 120.0
"""Seconds that a verb waits when neither it nor the test nor ``--netlab-timeout`` says how long."""

_CASE: pytest.StashKey[Case] = pytest.StashKey()

_MARK = """\
netlab(*files, vars={}, timeout=seconds): the topology of the test's lab, relative to the test's
folder; several files, or a list of vars, make a test of each"""


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the labs that a test is run on.

    Attributes:
        file: Its topology, as the mark names it, or None when no mark does.
        variables: Values for ``${name}``.
    """

    file: str | None
    variables: Mapping[str, str]

    def __str__(self) -> str:
        shown = [f"{name}={value}" for name, value in self.variables.items()]
        return "-".join([*([Path(self.file).stem] if self.file else []), *shown]) or "default"


_OPTIONS: dict[str, dict[str, Any]] = {
    "--netlab-topology": {"metavar": "FILE", "help": "the topology of tests that name none"},
    "--netlab-set": {
        "metavar": "NAME=VALUE",
        "action": "append",
        "default": [],
        "help": "a variable of every topology; may be given several times",
    },
    "--netlab-attach": {
        "metavar": "LAB",
        "help": "run the tests on this lab, which is up, and leave it as they leave it",
    },
    "--netlab-keep": {
        "action": "store_true",
        "help": "leave the lab of a test that fails running, and say how to enter it",
    },
    "--netlab-artifacts": {
        "metavar": "DIR",
        "help": "where the evidence of failed tests goes, a folder each; pytest's temporary folder "
        "otherwise",
    },
    "--netlab-evidence": {
        "choices": ("failed", "always"),
        "default": "failed",
        "help": "whose evidence is kept: that of tests that fail (the default), or of all",
    },
    "--netlab-timeout": {
        "metavar": "SECONDS",
        "type": float,
        "default": TIMEOUT,
        "help": f"how long a verb waits that does not say so itself (default: {TIMEOUT:g})",
    },
    "--netlab-accel": {
        "choices": ("auto", "kvm", "tcg"),
        "help": "the accelerator, whatever topologies say",
    },
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("netlab", "labs of virtual machines")
    for name, words in _OPTIONS.items():
        group.addoption(name, **words)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", " ".join(_MARK.split()))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each topology and of each set of variables that a mark names."""
    if "netlab_variant" not in metafunc.fixturenames:
        return
    variants = _read_variants(metafunc.definition)
    if len(variants) > 1:
        metafunc.parametrize("netlab_variant", variants, indirect=True, ids=str)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Let pytest-trio run the tests that use a lab, whatever its own mode."""
    for item in items:
        if _uses_lab(item) and inspect.iscoroutinefunction(_function(item)):
            item.add_marker("trio")


@pytest.fixture
def netlab_variant(request: pytest.FixtureRequest) -> Variant:
    """Which of the labs of its mark a test is run on."""
    given = getattr(request, "param", None)
    return given if isinstance(given, Variant) else _read_variants(request.node)[0]


@pytest.fixture
def topology(request: pytest.FixtureRequest, netlab_variant: Variant) -> Topology:
    """The test's topology: of its mark, of ``--netlab-topology``, or beside the test."""
    from netlab.errors import NetlabError
    from netlab.topology.load import load

    path = _find_topology(request, netlab_variant)
    given: list[str] = _option(request.config, "netlab_set")
    variables = {**netlab_variant.variables, **_read_pairs(given)}
    try:
        return load(path, variables=variables)
    except NetlabError as error:
        _refuse(error)


@pytest.fixture
def plan(request: pytest.FixtureRequest, topology: Topology) -> Plan:
    """What the test's lab will be."""
    from netlab.errors import NetlabError
    from netlab.plan.files import anchor
    from netlab.plan.resolve import resolve
    from netlab.testing.fixtures import free_name

    attached: str | None = request.config.getoption("netlab_attach")
    kept = bool(request.config.getoption("netlab_keep"))
    # A lab process needs a name of its own; a lab in this process is nobody else's matter.
    name = attached or (free_name(topology.name) if kept else topology.name)
    try:
        return anchor(
            resolve(topology, lab=name), str(Path(topology.source.name).absolute().parent)
        )
    except NetlabError as error:
        _refuse(error)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Prepare a test that uses a lab to keep the evidence while the lab is there."""
    if not _uses_lab(item):
        return
    function = _function(item)
    if not inspect.iscoroutinefunction(function):
        pytest.fail(f"{item.name} uses a lab and is not `async def`", pytrace=False)
    case = item.stash[_CASE] = _make_case(item)
    cast("Any", item).obj = _watch(function, case)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the one failure that a group holds as itself, and where the evidence is."""
    case = item.stash.get(_CASE, None)
    error = None
    if case is not None and call.excinfo is not None:
        error = _read_error(call.excinfo.value)
        shown = error if _option(item.config, "fulltrace") else _shorten(error)
        if shown is not call.excinfo.value:
            call.excinfo = cast("Any", pytest.ExceptionInfo).from_exception(shown)
    report = yield
    if case is not None and report.when == "call" and report.failed:
        report.sections += _describe(error, case)
    return report


def _describe(error: BaseException | None, case: Case) -> Iterator[tuple[str, str]]:
    from netlab.errors import NetlabError

    if isinstance(error, NetlabError) and error.evidence:
        yield "netlab: what was seen", error.evidence
    if text := case.report():
        yield "netlab: the lab at the failure", text


def _read_error(error: BaseException) -> BaseException:
    from netlab.testing.tracebacks import find_error

    return find_error(error)


def _shorten(error: BaseException) -> BaseException:
    """Show of a verb that failed where the test called it, and not how it found out."""
    from netlab.errors import NetlabError
    from netlab.testing.tracebacks import users_lines

    if not isinstance(error, NetlabError):
        return error
    traceback = users_lines(error.__traceback__)
    if traceback is not None:
        return error.with_traceback(traceback)
    # Nothing of the test was involved: the message alone says it.
    alone = pytest.fail.Exception(f"{type(error).__name__}: {error}", pytrace=False)
    return alone.with_traceback(error.__traceback__)


def _watch(
    function: Callable[..., Coroutine[Any, Any, object]], case: Case
) -> Callable[..., Coroutine[Any, Any, object]]:
    """Return the test, with its failure noted while its lab still lives."""

    @wraps(function)
    async def watched(**arguments: Any) -> None:
        __tracebackhide__ = True
        try:
            await function(**arguments)
            if case.driver is not None:
                # Parts that failed while the test went on.
                case.driver.parts.check()
        except BaseException as error:
            if _is_failure(error):
                case.failed = True
                await case.note_failure(error)
            raise

    return watched


def _is_failure(error: BaseException) -> bool:
    from netlab.errors import leaves

    outcomes = (pytest.skip.Exception, pytest.xfail.Exception, KeyboardInterrupt, SystemExit)
    return any(
        isinstance(leaf, Exception | pytest.fail.Exception) and not isinstance(leaf, outcomes)
        for leaf in leaves(error)
    )


def _make_case(item: pytest.Item) -> Case:
    from netlab.lab.options import Options
    from netlab.testing.fixtures import Case, make_slug

    config = item.config
    mark = item.get_closest_marker("netlab")
    own = mark.kwargs.get("timeout") if mark else None

    def place() -> Path:
        given: str | None = config.getoption("netlab_artifacts")
        slug = make_slug(item.nodeid)
        if given is None:
            factory: pytest.TempPathFactory = cast("Any", config)._tmp_path_factory  # noqa: SLF001
            return factory.mktemp(slug[-60:])
        folder = config.invocation_params.dir / given / slug
        # What an earlier run left would be mistaken for this one's.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    return Case(
        name=item.nodeid,
        place=place,
        timeout=_option(config, "netlab_timeout") if own is None else float(own),
        options=Options(accel=config.getoption("netlab_accel"), wait_memory=True),
        always=config.getoption("netlab_evidence") == "always",
    )


def _read_variants(node: pytest.Item | pytest.Function | Any) -> list[Variant]:
    """Return the labs that the marks of a test name: files and variables of the closest that do."""
    files: tuple[str, ...] = ()
    sets: list[dict[str, str]] = [{}]
    for mark in reversed(list(node.iter_markers("netlab"))):
        files = mark.args or files
        given: object = mark.kwargs.get("vars", {})
        several = cast("list[dict[str, object]]", given if isinstance(given, list) else [given])
        sets = [
            {**base, **{name: str(value) for name, value in one.items()}}
            for base in sets
            for one in several
        ]
    return [Variant(file, variables) for file in files or (None,) for variables in sets]


def _find_topology(request: pytest.FixtureRequest, variant: Variant) -> Path:
    if variant.file is not None:
        path = Path(variant.file)
        places = (request.path.parent, request.path.parent.parent, request.config.rootpath)
        found = [place / path for place in places if (place / path).is_file()]
        # The first one is where it should be; its absence is the topology's error to tell.
        return found[0] if found else request.path.parent / path
    given: str | None = request.config.getoption("netlab_topology")
    if given is not None:
        return request.config.invocation_params.dir / given
    stem = request.path.stem.removeprefix("test_").removesuffix("_test")
    for folder in (request.path.parent, request.path.parent.parent):
        if (folder / f"{stem}.yaml").is_file():
            return folder / f"{stem}.yaml"
    pytest.fail(
        f'no topology: mark the test with @pytest.mark.netlab("FILE"), put {stem}.yaml beside it, '
        "or give --netlab-topology FILE",
        pytrace=False,
    )


def _read_pairs(given: Sequence[str]) -> dict[str, str]:
    for each in given:
        if "=" not in each:
            raise pytest.UsageError(f"--netlab-set {each}: expected NAME=VALUE")
    return {name: value for name, _, value in (each.partition("=") for each in given)}


def _refuse(error: Exception) -> NoReturn:
    raise pytest.fail.Exception(str(error), pytrace=False) from None


def _uses_lab(item: pytest.Item) -> bool:
    """Whether a test asks for a lab of ours: another fixture may be called so, too."""
    return "netlab_plan" in getattr(item, "fixturenames", ())


def _function(item: pytest.Item) -> Callable[..., Coroutine[Any, Any, object]]:
    return cast("Any", item).obj


@pytest.fixture
def netlab_plan(request: pytest.FixtureRequest, netlab_variant: Variant) -> Plan | None:
    """What the test's lab has to be; None where it is attached to and the test names nothing."""
    config = request.config
    if (
        _option(config, "netlab_attach")
        and netlab_variant.file is None
        and _option(config, "netlab_topology") is None
    ):
        return None
    return request.getfixturevalue("plan")


async def _open_lab(
    request: pytest.FixtureRequest, netlab_plan: Plan | None
) -> AsyncGenerator[LabDriver]:
    """The test's lab, up and ready."""
    from netlab.testing import fixtures

    case = request.node.stash[_CASE]
    if attached := _option(request.config, "netlab_attach"):
        opened = fixtures.attach_case(case, attached, netlab_plan)
    else:
        assert netlab_plan is not None
        kept = _option(request.config, "netlab_keep")
        opened = (fixtures.open_kept_case if kept else fixtures.open_case)(case, netlab_plan)
    async with opened as driver:
        yield driver


def _option(config: pytest.Config, name: str) -> Any:
    return config.getoption(name)


def _refuse_lab() -> NoReturn:
    """Say what is missing: labs are Trio's."""
    pytest.fail("pytest-trio is not installed: pip install 'netlab-vm[test]'", pytrace=False)


if find_spec("pytest_trio") is None:
    lab = pytest.fixture(_refuse_lab, name="lab")
else:
    import pytest_trio

    lab = cast("Any", pytest_trio).trio_fixture(_open_lab)
