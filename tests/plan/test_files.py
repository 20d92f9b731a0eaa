"""Files of the host that a plan names."""

from __future__ import annotations

from netlab.plan.files import KnownFile, anchor, known_files, place_files
from netlab.plan.model import FirmwarePlan
from netlab.plan.resolve import resolve
from netlab.topology.load import loads


def test_files_of_a_plan_are_those_of_the_text_until_a_lab_is_to_have_them() -> None:
    text = "name: a\nnodes: {a: {firmware: {code: my/code.fd, vars: /srv/vars.fd}}, b: }\n"
    plan = resolve(loads(text))
    assert plan.node("a").firmware == FirmwarePlan(
        kind="uefi", code="my/code.fd", vars="/srv/vars.fd"
    )
    anchored = anchor(plan, "/labs")
    assert anchored.node("a").firmware == FirmwarePlan(
        kind="uefi", code="/labs/my/code.fd", vars="/srv/vars.fd"
    )
    assert anchored.node("b") == plan.node("b")


def test_cdroms_are_found_beside_the_topology() -> None:
    text = "name: a\nnodes: {a: {image: debian, cdroms: [x.iso, /srv/y.iso]}}\n"
    cdroms = anchor(resolve(loads(text)), "/labs").node("a").cdroms
    assert [cdrom.file for cdrom in cdroms] == ["/labs/x.iso", "/srv/y.iso"]


def test_shares_are_found_beside_the_topology() -> None:
    text = "name: a\nnodes: {a: {shares: [www/:/srv/www, /srv/y:/mnt/y, .:/mnt/z]}}\n"
    shares = anchor(resolve(loads(text)), "/labs").node("a").shares
    assert [share.source for share in shares] == ["/labs/www", "/srv/y", "/labs/."]


def test_files_with_a_digest_are_put_where_they_are_on_a_host() -> None:
    digests = ["sha256:" + "0a" * 32, "sha512:" + "0b" * 64]
    text = f"""\
name: a
nodes:
  a:
    image: none
    arch: x86_64
    disk: {{file: "https://example.com/a.qcow2", format: qcow2, digest: "{digests[0].upper()}"}}
    disks: [{{file: b.raw, format: raw, digest: "{digests[1]}"}}, {{size: 1}}]
    cdroms: {{file: "https://example.com/a.qcow2", digest: "{digests[0]}"}}
  b: {{image: debian, disks: {{file: c.raw, format: raw}}}}
"""
    plan = anchor(resolve(loads(text)), "/labs")
    known = known_files(plan.nodes)
    assert known == (
        KnownFile("https://example.com/a.qcow2", digests[0]),
        KnownFile("/labs/b.raw", digests[1]),
    )
    assert known_files([plan.node("b")]) == ()
    placed = place_files(plan, {known[0]: "/cache/a"})
    a, b = placed.nodes
    assert [disk.file for disk in a.disks] == ["/cache/a", "/labs/b.raw", None]
    assert [cdrom.file for cdrom in a.cdroms] == ["/cache/a"]
    assert b == plan.node("b")
