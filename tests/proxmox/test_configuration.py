"""qemu-server.conf as text and as a value."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.errors import ConfigurationError
from netlab.proxmox.configuration import (
    Configuration,
    Entry,
    make_configuration,
    parse,
    parse_properties,
    write,
    write_properties,
)
from netlab.proxmox.rules import check
from tests.proxmox.strategies import DESCRIPTIONS, configurations, likely_configurations

BACKUP = """#Web server%3A 100%25 gr%C3%BCn
#
#second paragraph
#vzdump#vm-disk of long ago
agent: 1
boot: order=scsi0;net0
memory:   2048\x20
net0: virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=5
#in the middle
scsi0: local-lvm:vm-100-disk-0,size=8G
#qmdump#map:scsi0:drive-scsi0:local-lvm:raw:

[before-upgrade]
#a snapshot's
memory: 512
[PENDING]
cores: 8
"""


def test_a_backup_is_read_as_proxmox_reads_it() -> None:
    configuration = parse(BACKUP)
    assert configuration.description == "Web server: 100% grün\n\nsecond paragraph\nin the middle"
    assert configuration.get("memory") == "2048"
    assert configuration.get("cores") is None
    assert [(entry.key, entry.line) for entry in configuration.entries] == [
        ("agent", 5), ("boot", 6), ("memory", 7), ("net0", 8), ("scsi0", 10),
    ]  # fmt: skip
    assert [(one.drive, one.device, one.storage, one.line) for one in configuration.maps] == [
        ("scsi0", "drive-scsi0", "local-lvm", 11)
    ]
    assert configuration.sections == (("before-upgrade", 13), ("PENDING", 16))


def test_every_line_that_cannot_be_read_is_told_at_once() -> None:
    text = "\n".join((
        "cores: 2",
        "Memory: 512",
        "cores: 4",
        "#qmdump#map:scsi0:drive-scsi0:local:raw",
        "#qmdump#map:scsi1:drive-scsi1:local:raw:",
        "#qmdump#map:scsi1:drive-scsi2:local:raw:",
        "name:",
        "bios : ovmf",
        "kvm: 1\r",
    ))
    with pytest.raises(ConfigurationError) as caught:
        parse(text, file="100.conf")
    assert str(caught.value).splitlines() == [
        "100.conf:2:1: 'Memory: 512' cannot be read (a line is KEY: VALUE)",
        "100.conf:3:1: cores: is there twice (first in line 1)",
        "100.conf:4:1: '#qmdump#map:scsi0:drive-scsi0:local:raw' maps no drive (#qmdump#map:"
        "DRIVE:DEVICE:STORAGE:FORMAT: with a colon and LF at its end)",
        "100.conf:6:1: scsi1: is mapped twice (first in line 5)",
        "100.conf:7:1: 'name:' cannot be read (a line is KEY: VALUE)",
        "100.conf:8:1: 'bios : ovmf' cannot be read (a line is KEY: VALUE)",
        "100.conf:9:1: 'kvm: 1\\r' cannot be read (lines end with LF alone)",
    ]
    assert caught.value.exit_code == 2


@given(configurations() | likely_configurations())
@settings(deadline=None)
def test_what_passes_the_rules_is_read_as_it_was_written(configuration: Configuration) -> None:
    if not check(configuration):
        assert parse(write(configuration)) == configuration


@given(DESCRIPTIONS)
def test_a_description_is_ascii_on_the_way_and_comes_back_whole(text: str) -> None:
    configuration = make_configuration([("cores", "1")], description=text)
    written = write(configuration)
    assert written.isascii()
    assert "\r" not in written
    if not check(configuration):
        assert parse(written).description == text.rstrip()


@given(st.text())
def test_any_text_is_a_configuration_or_a_list_of_mistakes(text: str) -> None:
    try:
        configuration = parse(text)
    except ConfigurationError:
        return
    # What was read is written in its one form, which is read as the same.
    assert parse(write(configuration)) == configuration


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "x=y", ""]))))
def test_properties_come_back_in_their_order(properties: list[tuple[str, str]]) -> None:
    if properties:
        assert list(parse_properties(write_properties(properties))) == properties


def test_numbered_settings_come_by_number_and_not_by_letter() -> None:
    settings = [(f"net{number}", "virtio") for number in (10, 2, 1)]
    configuration = make_configuration([*settings, ("netx", "1"), ("serial0", "socket")])
    assert [entry.key for entry, _ in configuration.numbered("net")] == ["net1", "net2", "net10"]
    assert [entry.key for entry in configuration.entries][:2] == ["net1", "net10"]


def test_positions_do_not_make_two_configurations_differ() -> None:
    assert parse("\n\ncores: 1\n") == parse("cores: 1\n", file="other")
    assert Entry("cores", "1", 3) == Entry("cores", "1")
