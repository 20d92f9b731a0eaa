"""`netlab vma`, from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from netlab.vma.format.extents import build_extent
from tests.cli.conftest import NETLAB, Shell
from tests.vma.archives import (
    CONF,
    UUID_1,
    make_archive,
    make_state_header,
    names_in,
    patch,
    pattern,
)

DISK = pattern(1, 0, 2) + bytes(40 * 65536) + pattern(*range(1, 9))
OTHER = pattern(3) * 20
IDENTITY = ("--uuid", str(UUID_1), "--time", "1700000000")


@pytest.fixture
def files(netlab: Shell) -> Path:
    (netlab.folder / "disk.raw").write_bytes(DISK)
    (netlab.folder / "other.raw").write_bytes(OTHER)
    (netlab.folder / "qemu-server.conf").write_bytes(CONF["qemu-server.conf"])
    return netlab.folder


@pytest.fixture
def archive(netlab: Shell) -> Path:
    path = netlab.folder / "a.vma"
    path.write_bytes(make_archive({"drive-scsi0": DISK, "drive-virtio1": OTHER}))
    return path


def test_disks_are_given_as_the_real_tool_has_them(netlab: Shell, files: Path) -> None:
    expected = make_archive({"drive-scsi0": DISK, "drive-virtio1": OTHER})
    ways = [
        ["drive-scsi0=disk.raw", "drive-virtio1=other.raw"],
        ["-d", "drive-scsi0=disk.raw", "-d", "format=raw:drive-virtio1=other.raw"],
    ]
    for number, disks in enumerate(ways):
        name = f"{number}.vma"
        done = netlab("vma", "create", name, "-c", "qemu-server.conf", *disks, *IDENTITY)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (files / name).read_bytes() == expected


def test_suffix_and_option_say_how_an_archive_is_compressed(netlab: Shell, files: Path) -> None:
    for name, options in (("a.vma.zst", ()), ("a.vma.gz", ()), ("b", ("--compress", "zstd:1"))):
        done = netlab("vma", "create", name, "drive-scsi0=disk.raw", *IDENTITY, *options)
        assert done.returncode == 0
    magics = {name: (files / name).read_bytes()[:2] for name in ("a.vma.zst", "a.vma.gz", "b")}
    assert magics == {"a.vma.zst": b"\x28\xb5", "a.vma.gz": b"\x1f\x8b", "b": b"\x28\xb5"}
    assert netlab("vma", "verify", "a.vma.zst").returncode == 0


def test_a_pipeline_is_a_copy(netlab: Shell, files: Path) -> None:
    line = (
        f"{NETLAB} vma create - -d drive-scsi0=disk.raw -c qemu-server.conf | zstd -c | zstd -dc"
        f" | {NETLAB} vma extract - out"
    )
    subprocess.run(["sh", "-c", line], cwd=files, env=netlab.environment(), check=True, timeout=60)
    assert (files / "out/disk-drive-scsi0.raw").read_bytes() == DISK
    assert names_in(files / "out") == ["disk-drive-scsi0.raw", "qemu-server.conf"]


def test_standard_output_may_be_a_file(netlab: Shell, files: Path) -> None:
    with (files / "a.vma").open("wb") as file:
        subprocess.run(
            [NETLAB, "vma", "create", "-", "drive-scsi0=disk.raw", *IDENTITY],
            cwd=files, env=netlab.environment(), stdout=file, check=True, timeout=60,
        )  # fmt: skip
    assert (files / "a.vma").read_bytes() == make_archive({"drive-scsi0": DISK}, {})


def test_a_list_shows_configurations_and_disks(netlab: Shell, archive: Path) -> None:
    done = netlab("vma", "list", archive.name)
    assert done.returncode == 0
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["KIND", "NUMBER", "NAME", "BYTES"],
        ["config", "-", "qemu-server.conf", "18"],
        ["disk", "1", "drive-scsi0", str(len(DISK))],
        ["disk", "2", "drive-virtio1", str(len(OTHER))],
    ]
    assert "2023-11-14 22:13:20 UTC" in done.stderr
    listed = json.loads(netlab("vma", "list", "a.vma", "-f", "json").stdout)
    assert listed["uuid"] == str(UUID_1)
    assert listed["disks"][1] == {"number": 2, "name": "drive-virtio1", "size": len(OTHER)}


def test_only_the_header_of_a_pipe_is_needed_for_a_list(netlab: Shell, archive: Path) -> None:
    done = netlab("vma", "list", "-", stdin=archive.read_bytes()[:13_000])
    assert done.returncode == 0
    assert "drive-virtio1" in done.stdout


def test_a_configuration_is_printed_as_it_is(netlab: Shell, archive: Path) -> None:
    done = netlab("vma", "config", "-", stdin=archive.read_bytes())
    assert (done.returncode, done.stdout.encode()) == (0, CONF["qemu-server.conf"])
    missing = netlab("vma", "config", "a.vma", "-c", "qemu-server.fw")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "it has: qemu-server.conf" in missing.stderr


def test_a_terminal_is_not_ruled_by_a_configuration(netlab: Shell) -> None:
    hostile = {"qemu-server.conf": b"name: \x1b]0;evil\x07x\n"}
    (netlab.folder / "a.vma").write_bytes(make_archive({}, hostile))
    reader, terminal = os.openpty()
    with os.fdopen(reader, "rb", buffering=0) as screen, os.fdopen(terminal, "wb") as theirs:
        subprocess.run(
            [NETLAB, "vma", "config", "a.vma"],
            cwd=netlab.folder, env=netlab.environment(), stdout=theirs, check=True, timeout=60,
        )  # fmt: skip
        assert screen.read(1000) == b"name: \\x1b]0;evil\\x07x\r\n"


@pytest.mark.usefixtures("archive")
def test_single_disks_are_extracted_to_a_folder_or_to_standard_output(netlab: Shell) -> None:
    done = netlab("vma", "extract", "a.vma", "out", "-d", "drive-virtio1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert names_in(netlab.folder / "out") == ["disk-drive-virtio1.raw", "qemu-server.conf"]
    with subprocess.Popen(
        [NETLAB, "vma", "extract", "a.vma", "-", "-d", "drive-scsi0"],
        cwd=netlab.folder, env=netlab.environment(), stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.communicate(timeout=60)[0] == DISK
    assert process.returncode == 0
    assert netlab("vma", "extract", "a.vma", "-").returncode == 2


def test_saved_memory_is_as_large_for_every_verb_as_it_is(netlab: Shell) -> None:
    """The header says less: it was written before the memory."""
    data = make_state_header(65536, {}) + build_extent(UUID_1.bytes, 1, 0, [1, 0]) + pattern(7)
    (netlab.folder / "a.vma").write_bytes(data)
    done = netlab("vma", "map", "a.vma", "-f", "json")
    assert [(part["start"], part["length"], part["data"]) for part in json.loads(done.stdout)] == [
        (0, 4096, True), (4096, 131072 - 4096, False),
    ]  # fmt: skip
    done = netlab("vma", "extract", "a.vma", "-", "-d", "vmstate")
    assert (done.returncode, done.stdout.encode()) == (0, pattern(7) + bytes(131072 - 4096))
    assert netlab("vma", "extract", "a.vma", "out").returncode == 0
    assert (netlab.folder / "out/vmstate.bin").read_bytes() == pattern(7) + bytes(131072 - 4096)


@pytest.mark.usefixtures("archive")
def test_a_map_is_for_people_and_for_programs(netlab: Shell) -> None:
    done = netlab("vma", "map", "a.vma", "-d", "drive-scsi0", "-f", "json")
    tail = 3 * 4096 + 40 * 65536
    assert json.loads(done.stdout) == [
        {"disk": "drive-scsi0", "start": 0, "length": 4096, "data": True},
        {"disk": "drive-scsi0", "start": 4096, "length": 4096, "data": False},
        {"disk": "drive-scsi0", "start": 8192, "length": 4096, "data": True},
        {"disk": "drive-scsi0", "start": 12288, "length": tail - 12288, "data": False},
        {"disk": "drive-scsi0", "start": tail, "length": 32768, "data": True},
    ]
    lines = netlab("vma", "map", "a.vma").stdout.splitlines()
    assert lines[-1].split() == ["drive-virtio1", "0", "81920", "data"]


def test_verify_is_quiet_about_what_is_good_and_tells_all_that_is_not(
    netlab: Shell, archive: Path
) -> None:
    good = netlab("vma", "verify", "a.vma")
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "a.vma: nothing is wrong\n")
    data = archive.read_bytes()
    archive.write_bytes(patch(data, 12800 + 100, b"\xff") + b"tail")
    bad = netlab("vma", "verify", "a.vma")
    assert bad.returncode == 2
    assert [line.split(None, 1)[0] for line in bad.stdout.splitlines()] == ["KIND", *["error"] * 3]
    assert "extent 0 at byte 12800: the checksum of the extent's header is wrong" in bad.stdout
    assert "drive-scsi0: clusters 0 to 40 of 41 are missing" in bad.stdout
    assert "3 things are wrong" in bad.stderr
    told = json.loads(netlab("vma", "verify", "a.vma", "-f", "json").stdout)
    assert told[0] == {
        "message": "the checksum of the extent's header is wrong",
        "offset": 12800,
        "extent": 0,
        "warning": False,
    }


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["create", "a.vma"], 2, "an archive needs a disk or a configuration"),
        (["create", "a.vma", "disk.raw"], 2, "expected NAME=PATH"),
        (["create", "a.vma", "a=disk.raw", "a=other.raw"], 2, "the disk a is given twice"),
        (["create", "a.vma", "a/b=disk.raw"], 2, "it has a slash"),
        (["create", "a.vma", "vmstate=disk.raw"], 2, "the name is that of saved memory"),
        (["create", "a.vma", "format=qcow2:a=disk.raw"], 2, "qemu-img convert"),
        (["create", "a.vma", "a=none.raw"], 3, "none.raw: No such file or directory (errno 2)"),
        (["create", "a.vma", "-c", "none.conf"], 3, "none.conf: No such file"),
        (["create", "a.vma", "-c", "disk.raw"], 2, "disk.raw has more than 65535 bytes"),
        (["create", "a.vma", "-c", "/dev/zero"], 2, "/dev/zero has more than 65535 bytes"),
        (["create", "new/", "a=disk.raw"], 2, "new/: an archive is a file"),
        (["create", "new/.", "a=disk.raw"], 2, "new/.: an archive is a file"),
        (["create", "a.vma", "a,b=disk.raw"], 2, "the name has a comma"),
        (
            ["create", "a.vma", *(f"d{number}=none.raw" for number in range(1100))],
            2,
            "0 configurations and 1100 disks are too many",
        ),
        (["create", "a.vma.lzo", "a=disk.raw"], 2, "use .zst or .gz"),
        (["create", "disk.raw", "a=disk.raw"], 2, "disk.raw: it is there already"),
        (["create", "none/a.vma", "a=disk.raw"], 3, "No such file or directory"),
        (["create", "a.vma", "a=disk.raw", "--compress", "zstd:99"], 2, "levels 1 to 19"),
        (["create", "a.vma", "a=disk.raw", "--uuid", "x"], 2, "--uuid"),
        (["create", "a.vma", "a=disk.raw", "--compress", "zstd"], 2, "by its name its compression"),
        (["create", "a.vma", "a=disk.raw", "--time", "9" * 20], 2, "has no room in an archive"),
        (["create", "", "a=disk.raw"], 2, "an archive needs a name"),
        (["list", "disk.raw"], 2, "disk.raw: byte 0: this is not a VMA archive"),
        (["extract", "disk.raw", "out"], 2, "this is not a VMA archive"),
        (["verify", "none"], 3, "none: No such file or directory"),
        (["map", "none.vma.zst"], 3, "No such file"),
    ],
)
def test_a_mistake_is_told_in_a_line_and_leaves_nothing(
    netlab: Shell, words: list[str], code: int, message: str
) -> None:
    before = names_in(netlab.folder)
    done = netlab("vma", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert names_in(netlab.folder) == before


@pytest.mark.usefixtures("archive")
def test_an_archive_without_such_a_disk_names_those_that_it_has(netlab: Shell) -> None:
    for words in (["extract", "a.vma", "out", "-d", "x"], ["map", "a.vma", "-d", "x"]):
        done = netlab("vma", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "drive-scsi0, drive-virtio1" in done.stderr


def test_a_missing_lzop_is_named_with_its_package(netlab: Shell) -> None:
    (netlab.folder / "a.vma.lzo").write_bytes(b"")
    done = netlab("vma", "list", "a.vma.lzo", PATH=str(netlab.folder))
    assert (done.returncode, done.stdout) == (3, "")
    assert "apt-get install --no-install-recommends lzop" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_ends_it_nothing_is_left(netlab: Shell, number: signal.Signals) -> None:
    archive = make_archive({"drive-scsi0": pattern(1) * 1024})
    reader, writer = os.pipe()
    with subprocess.Popen(
        [NETLAB, "vma", "extract", "-", "out"],
        cwd=netlab.folder, env=netlab.environment(), stdin=reader, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        os.close(reader)
        # More than a pipe holds: once it is written, all but the last of it has been read.
        os.write(writer, archive[:-1])
        assert list(netlab.folder.glob(".out.*/disk-*"))
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    os.close(writer)
    assert (process.returncode, said) == (130, b"netlab: interrupted\n")
    assert not [name for name in names_in(netlab.folder) if "out" in name]


def test_standard_input_that_is_a_file_is_read_from_where_it_stands(
    netlab: Shell, archive: Path
) -> None:
    archive.write_bytes(b"something before" + archive.read_bytes())
    for words in (["list", "-"], ["verify", "-"], ["extract", "-", "-", "-d", "drive-virtio1"]):
        with archive.open("rb", buffering=0) as file:
            file.seek(16)
            done = subprocess.run(
                [NETLAB, "vma", *words],
                cwd=netlab.folder, env=netlab.environment(), stdin=file, stdout=subprocess.PIPE,
                timeout=60, check=True,
            )  # fmt: skip
    assert done.stdout == OTHER


def test_a_program_gets_the_place_of_what_is_no_archive(netlab: Shell) -> None:
    (netlab.folder / "a.vma").write_bytes(b"what is this")
    done = netlab("vma", "verify", "a.vma", "-f", "json")
    (told,) = json.loads(done.stdout)
    assert (told["offset"], told["extent"]) == (0, None)
    assert told["message"].startswith("this is not a VMA archive")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_standard_streams_may_be_closed(netlab: Shell, closed: str) -> None:
    line = f"{NETLAB} vma create a.vma drive-scsi0=disk.raw {closed}"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=netlab.folder, env=netlab.environment(), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert netlab("vma", "verify", "a.vma").returncode == 0


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("words", "closed"), [("create - drive-scsi0=disk.raw", ">&-"), ("list -", "<&-")]
)
def test_an_archive_on_a_closed_standard_stream_is_no_archive(
    netlab: Shell, words: str, closed: str
) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{NETLAB} vma {words} {closed}"],
        cwd=netlab.folder, env=netlab.environment(), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    stream = {">": "output", "<": "input"}[closed[0]]
    told = f"netlab: standard {stream}: Bad file descriptor (errno 9)\n"
    assert (done.returncode, done.stdout, done.stderr.decode()) == (3, b"", told)


@pytest.mark.usefixtures("archive")
@pytest.mark.parametrize("words", [("list", "a.vma"), ("map", "a.vma", "-f", "json")])
def test_a_full_standard_output_is_told_in_a_line(netlab: Shell, words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [NETLAB, "vma", *words],
            cwd=netlab.folder, env=netlab.environment(), stdout=full, stderr=subprocess.PIPE,
            text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "netlab: a file: No space left on device (errno 28)"
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_ends_the_pipeline_in_silence(netlab: Shell, files: Path) -> None:
    (files / "big.raw").write_bytes(pattern(5) * 4000)
    line = f"{NETLAB} vma create - a=big.raw | head -c 1000 > /dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=files, env=netlab.environment(), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("141\n", "")
