"""Files of the host that a plan names."""

from __future__ import annotations

from netlab.plan.files import anchor
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
