"""The header without I/O: what is built is read back, every broken rule is told with its place."""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.errors import ArchiveError
from netlab.vma import Config, Device, Header, Problem
from netlab.vma.format.header import build_header, parse_header, read_length
from netlab.vma.format.layout import CLUSTER
from tests.vma.archives import (
    CONF,
    CREATED,
    PLAIN_SAMPLES,
    Sample,
    header_length,
    make_archive,
    make_header,
    patch,
    pattern,
    seal_header,
)

names = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=40
).filter(lambda name: not set(name) & set("/,") and name not in {".", "..", "vmstate"})
sizes = st.integers(1, (1 << 32) * CLUSTER // 512).map(lambda sectors: sectors * 512)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    drawn = draw(st.lists(st.tuples(names, sizes), max_size=5, unique_by=lambda pair: pair[0]))
    numbers = draw(st.lists(st.integers(1, 254), min_size=5, max_size=5, unique=True))
    configs = draw(
        st.lists(st.tuples(names, st.binary(max_size=700)), min_size=1, unique_by=lambda p: p[0])
    )
    devices = [
        Device(number, f"d{name}", max(size, CLUSTER))
        for number, (name, size) in zip(numbers, drawn, strict=False)
    ]
    return Header(
        uuid=draw(st.uuids()),
        created=draw(st.integers(-(2**63), 2**63 - 1)),
        configs=tuple(Config(f"c{name}", data) for name, data in configs),
        devices=tuple(sorted(devices, key=lambda device: device.number)),
    )


@given(headers())
def test_a_header_is_read_back_as_it_was(header: Header) -> None:
    data = build_header(header)
    assert read_length(data) == len(data)
    assert len(data) % 512 == 0
    assert parse_header(data) == header
    assert build_header(header) == data


def test_the_length_of_a_blob_is_little_endian_and_counts_the_zero_byte() -> None:
    data = build_header(make_header({}, {"a.conf": b"xyz"}))
    assert data[12288:12304] == b"\0" + b"\x07\0a.conf\0" + b"\x03\0xyz" + b"\0"
    assert struct.unpack_from(">III", data, 48) == (12288, 15, 12800)


def test_the_longest_configuration_is_65535_bytes() -> None:
    header = make_header({}, {"a": b"x" * 65535})
    assert parse_header(build_header(header)) == header
    with pytest.raises(ArchiveError, match="a has 65536 bytes; a configuration has 65535 at most"):
        build_header(make_header({}, {"a": b"x" * 65536}))


def test_254_disks_have_room_and_255_have_not() -> None:
    many = {f"drive-{number}": bytes(CLUSTER) for number in range(254)}
    assert len(parse_header(build_header(make_header(many, {}))).devices) == 254
    with pytest.raises(ArchiveError, match="255 disks are too many"):
        build_header(make_header({**many, "one-more": bytes(CLUSTER)}, {}))


@pytest.mark.parametrize(
    ("disks", "configs", "message"),
    [
        ({}, {}, "needs a disk or a configuration"),
        ({"a": b""}, CONF, "a disk 'a' cannot be: it is empty"),
        ({"a": bytes(CLUSTER - 512), "b": b"1"}, CONF, "every disk is smaller than 65536 bytes"),
        ({"a/b": bytes(CLUSTER)}, {}, "a disk 'a/b' cannot be: it has a slash"),
        ({"a b": bytes(CLUSTER)}, {}, "it has a blank"),
        ({"..": bytes(CLUSTER)}, {}, "it means a folder"),
        ({"": bytes(CLUSTER)}, {}, "it is empty"),
        ({"x" * 241: bytes(CLUSTER)}, {}, "it is longer than 240 bytes"),
        ({}, {"../evil": b""}, "a configuration cannot be called '../evil': it has a slash"),
        ({}, {"a\0b": b""}, "it has characters that cannot be printed"),
        ({"a": bytes(CLUSTER)}, {"disk-a.raw": b""}, "are both the file 'disk-a.raw'"),
        ({}, {str(n): b"x" * 65535 for n in range(9)}, "more than the 524288 that Proxmox writes"),
    ],
)
def test_what_the_format_has_no_room_for_is_refused(
    disks: dict[str, bytes], configs: dict[str, bytes], message: str
) -> None:
    with pytest.raises(ArchiveError, match=re.escape(message)):
        build_header(make_header(disks, configs))


@pytest.mark.parametrize("created", [1 << 63, -(1 << 63) - 1])
def test_a_time_that_has_no_room_is_refused(created: int) -> None:
    header = replace(make_header({"a": bytes(CLUSTER)}, {}), created=created)
    with pytest.raises(ArchiveError, match=f"a time of {created} s has no room"):
        build_header(header)


GOOD = make_archive({"drive-scsi0": pattern(1) + bytes(2 * CLUSTER)})
NAME = GOOD.index(b"drive-scsi0")
CONFIG_NAME = GOOD.index(b"qemu-server.conf")


@pytest.mark.parametrize(
    ("offset", "new", "message"),
    [
        (0, b"QFI\xfb", "byte 0: this is not a VMA archive"),
        (56, struct.pack(">I", 12288), "byte 56: a header of 12288 bytes cannot be"),
        (56, struct.pack(">I", 2**31), "byte 56: a header of 2147483648 bytes cannot be"),
        (4, struct.pack(">I", 2), "byte 4: version 2 is not known"),
        (48, struct.pack(">I", 12287), "byte 48: a table of 54 bytes at 12287 is not in"),
        (52, struct.pack(">I", 513), "byte 48: a table of 513 bytes at 12288 is not in"),
        (2044, struct.pack(">I", 52), "byte 2044: configuration 0: its name is not in the table"),
        (2044, bytes(4), "byte 2044: configuration 0: its name is not in the table"),
        (3068, struct.pack(">I", 5000), "its data are not in the table"),
        (CONFIG_NAME + 16, b"!", "configuration 0: its name does not end with a zero byte"),
        (CONFIG_NAME, b"../", "configuration 0: its name '../u-server.conf' is not safe"),
        (CONFIG_NAME, b"\xff", "is not UTF-8"),
        (CONFIG_NAME, b"\0", "is not safe: it has characters that cannot be printed"),
        (CONFIG_NAME - 2, b"\x01\0", "does not end with a zero byte"),
        (4096 + 32, bytes(4), "byte 4128: device 1: its name is not in the table"),
        (4096 + 40, bytes(8), "byte 4128: device 1 (drive-scsi0): its size is 0"),
        (4096 + 40, b"\xff" * 8, "18446744073709551615 bytes are more than 256 TiB"),
        (4096, GOOD[4128:4160], "device 0 (drive-scsi0): devices have the numbers 1 to 254"),
        (4096 + 255 * 32, GOOD[4128:4160], "device 255 (drive-scsi0): devices have the numbers"),
        (4096 + 64, GOOD[4128:4160], "two parts of the archive are both the file"),
        (NAME, b"a/", "device 1: its name 'a/ive-scsi0' is not safe: it has a slash"),
        (NAME, b"a ", "is not safe: it has a blank"),
    ],
)
def test_a_broken_header_says_what_and_where(offset: int, new: bytes, message: str) -> None:
    broken = seal_header(patch(GOOD, offset, new)) if offset != 56 else patch(GOOD, offset, new)
    with pytest.raises(ArchiveError, match=re.escape(message)):
        parse_header(broken[: read_length(broken[:12288])])


def test_a_header_whose_checksum_is_wrong_is_refused() -> None:
    with pytest.raises(ArchiveError, match="byte 32: the header's checksum is wrong") as caught:
        parse_header(patch(GOOD, 30, b"x")[: header_length(GOOD)])
    assert (caught.value.offset, caught.value.extent) == (32, None)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("length", [4, 12287])
def test_a_header_that_ends_too_early_says_where(length: int) -> None:
    with pytest.raises(ArchiveError, match=f"byte {length}: the archive ends in its header"):
        read_length(GOOD[:length])


def test_a_compressed_archive_without_its_suffix_names_the_tool() -> None:
    with pytest.raises(ArchiveError, match="zstd -dc"):
        read_length(b"\x28\xb5\x2f\xfd" + bytes(20000))


def test_all_mistakes_of_a_header_are_found_at_once() -> None:
    broken = patch(patch(GOOD, 4, struct.pack(">I", 7)), 4096 + 40, bytes(8))
    problems: list[Problem] = []
    header = parse_header(broken[: header_length(GOOD)], problems.append)
    assert [problem.offset for problem in problems] == [32, 4, 4128]
    assert header.devices == ()


def test_a_size_that_proxmox_cuts_off_is_a_warning() -> None:
    odd = seal_header(patch(GOOD, 4096 + 40, struct.pack(">Q", 3 * CLUSTER - 1)))
    problems: list[Problem] = []
    parse_header(odd[: header_length(odd)], problems.append)
    assert [problem.warning for problem in problems] == [True]
    assert parse_header(odd[: header_length(odd)]).devices[0].size == 3 * CLUSTER - 1


@given(st.data())
def test_a_header_of_any_content_is_read_or_refused(data: st.DataObject) -> None:
    broken = bytearray(GOOD[: header_length(GOOD)])
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.one_of(st.integers(48, 60), st.integers(2044, len(broken) - 1)))
        broken[place] = data.draw(st.integers(0, 255))
    sealed = seal_header(patch(bytes(broken), 56, GOOD[56:60]))
    with suppress(ArchiveError):
        header = parse_header(sealed)
        assert all("/" not in config.name for config in header.configs)


@pytest.mark.parametrize("sample", PLAIN_SAMPLES)
def test_a_header_of_the_real_tool_is_read(sample: Sample) -> None:
    data = sample.path.read_bytes()
    header = parse_header(data[: read_length(data)])
    assert header.uuid != UUID(int=0)
    assert header.created > CREATED
    files = [*(each.name for each in header.configs), *(each.file_name for each in header.devices)]
    assert sorted(files) == sorted(sample.files)


def test_a_long_name_that_is_wrong_is_not_quoted_whole() -> None:
    """254 devices may share a blob of 64 KiB, each byte of which takes four to be shown."""
    data = make_archive({"drive-scsi0": bytes(CLUSTER)}, {"a": b"\x01" * 60_000 + b"\0"})
    problems: list[Problem] = []
    parse_header(seal_header(patch(data, 4096 + 32, data[3068:3072])), problems.append)
    (message,) = [each.message for each in problems if "device 1" in each.message]
    assert message.endswith("x01'... is not safe: it has characters that cannot be printed")
    assert len(message) < 400
