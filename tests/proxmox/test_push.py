"""Machines on their way to Proxmox."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from netlab.errors import ConfigurationError, ProxmoxError
from netlab.plan.resolve import resolve
from netlab.proxmox.calls import Call, plan_push, with_file
from netlab.proxmox.configuration import NAME, Configuration, make_configuration
from netlab.proxmox.networks import parse_mapping
from netlab.proxmox.push import Progress, Pushed, find_vmid
from netlab.proxmox.pushing import PushRequest, plan_calls
from netlab.proxmox.target import Source, VirtualNetwork
from netlab.proxmox.undo import (
    MACHINES,
    ROLLBACK,
    remove_machine,
    remove_network,
    remove_zone,
    stop_machine,
    stop_task,
)
from netlab.topology.load import loads
from tests.proxmox.facts import complain
from tests.proxmox.pushes import CONFIGURATION, OPTIONS, image, machine, push_one
from tests.proxmox.serving import Serving

GOLDEN = Path(__file__).parent / "golden"


async def test_a_machine_is_made_of_its_disks_on_networks_of_its_own(
    serving: Serving, sources: tuple[Source, ...], tmp_path: Path
) -> None:
    seen: list[Progress] = []
    pushed = await push_one(sources, serving, tmp_path, seen.append)
    assert pushed == Pushed((9001,), ("lan7", "cable"), ())
    inside = serving.inside
    (machine,) = inside.vms
    config = machine.config
    assert (machine.status, machine.name) == ("running", "a")
    assert config["tags"] == "lab-pair;netlab"
    assert config["description"] == "notes: 100 %\nsecond"
    assert config["net0"].startswith("virtio=02:4C:85:02:18:54,bridge=lan7")
    assert config["scsi0"].startswith("local-lvm:vm-9001-disk-1,discard=on,iothread=1")
    assert config["efidisk0"] == (
        "local-lvm:vm-9001-disk-0,efitype=4m,pre-enrolled-keys=0,size=528K"
    )
    assert inside.sdn["vnets"]["cable"] == {"zone": "netlab", "alias": "a:cable--b:cable"}
    # What waited for the import is gone, what was imported is the whole disk without its base.
    assert not inside.storages["local"]["volumes"]
    assert inside.contents["netlab-9001-efidisk0.raw"] == b"v" * 540_672
    flat = tmp_path / "flat.qcow2"
    flat.write_bytes(inside.contents["netlab-9001-scsi0.qcow2"])
    image("convert", "-f", "qcow2", "-O", "raw", str(flat), str(tmp_path / "raw"))
    assert (tmp_path / "raw").read_bytes() == (tmp_path / "base").read_bytes()
    for about in ("make a flat copy of scsi0 of 9001", "upload scsi0 of 9001"):
        assert any(one.about == about and 0 < one.done == one.size for one in seen)
    assert all(0 <= one.done <= one.size for one in seen)


async def test_the_calls_are_those_of_the_dry_run_in_its_order(
    serving: Serving, sources: tuple[Source, ...], tmp_path: Path
) -> None:
    await push_one(sources, serving, tmp_path)
    planned = [
        (call.method, f"/api2/json{call.path}") for call in plan_push([machine(sources)], OPTIONS)
    ]
    assert [(method, unquote(path)) for method, path in serving.calls()] == [
        (method, unquote(path)) for method, path in planned
    ]


def test_a_dry_run_prints_every_call(golden: Callable[[Path, str], None]) -> None:
    lines = map(str, plan_push([machine(None)], OPTIONS))
    golden(GOLDEN / "push.txt", "".join(f"{line}\n" for line in lines))


def test_every_call_is_one_of_the_api_with_parameters_that_it_takes() -> None:
    planned = plan_push([machine(None)], OPTIONS)
    calls = [
        *planned,
        with_file(planned.machines[0].disks[0].upload, "/x", "0" * 64),
        MACHINES,
        ROLLBACK,
        remove_machine(9001, "pve1"),
        remove_network("lan7"),
        remove_zone(),
        stop_machine(9001, "pve1"),
        stop_task("pve1", "UPID%3Apve1%3A1"),
    ]
    assert {str(call): complaints(call) for call in calls if complaints(call)} == {}
    # And the check itself finds what is wrong.
    wrong = Call(about="", method="POST", path="/cluster/sdn/vnets", parameters=(("vnet", "x"),))
    assert complaints(wrong)


def complaints(call: Call) -> dict[str, str]:
    lock = {"lock-token": "a"} if call.locked else {}
    path = "/".join(unquote(part).replace("/", "_") for part in call.path.split("/"))
    return complain(call.method, path, {**dict(call.parameters), **lock})


async def test_networks_that_are_there_are_used_and_stay(
    serving: Serving, make: Callable[[], Awaitable[Pushed]]
) -> None:
    serving.inside.bridges += ["lan7", "cable"]
    pushed = await make()
    assert pushed.networks == ()
    assert ("POST", "/api2/json/cluster/sdn/lock") not in serving.calls()


@pytest.mark.parametrize("kind", ["vlan", "vxlan"])
async def test_a_zone_of_another_type_is_refused_before_anything_is_changed(
    kind: str, serving: Serving, make: Callable[[], Awaitable[Pushed]]
) -> None:
    theirs = {"netlab": {"type": kind}}
    serving.inside.sdn["zones"], serving.inside.pending["zones"] = dict(theirs), dict(theirs)
    with pytest.raises(ProxmoxError, match=f"the zone netlab is of type '{kind}'") as caught:
        await make()
    assert "make lan7, cable there by hand, or --map" in str(caught.value)
    assert all(method == "GET" for method, _ in serving.calls())
    # Networks that somebody has made in it are used as they are.
    serving.inside.bridges += ["lan7", "cable"]
    assert (await make()).networks == ()


async def test_a_zone_of_an_earlier_push_is_used(
    serving: Serving, make: Callable[[], Awaitable[Pushed]]
) -> None:
    zones = {"netlab": {"type": "simple", "mtu": "1500"}}
    serving.inside.sdn["zones"], serving.inside.pending["zones"] = dict(zones), dict(zones)
    assert (await make()).networks == ("lan7", "cable")


@pytest.mark.parametrize("there", [(), ("lan7",), ("lan7", "cable")])
@pytest.mark.parametrize("zone", [{"mtu": "1500"}, {"mtu": 8999}, {}])
async def test_a_zone_that_cards_are_too_large_for_is_refused_before_anything_is_changed(
    zone: dict[str, object],
    there: tuple[str, ...],
    serving: Serving,
    sources: tuple[Source, ...],
    tmp_path: Path,
) -> None:
    sdn = {
        "zones": {"netlab": {"type": "simple", **zone}},
        "vnets": {name: {"zone": "netlab"} for name in there},
    }
    serving.inside.sdn, serving.inside.pending = deepcopy(sdn), deepcopy(sdn)
    large = with_mtu("lan7", 9000)
    with pytest.raises(ProxmoxError) as caught:
        await push_one(sources, serving, tmp_path, configuration=large)
    assert str(caught.value) == (
        f"pve1 cannot take the machine: the zone netlab has an MTU of {zone.get('mtu', 1500)}, and"
        " a card on lan7 one of 9000: give it 9000 there, or --map the segments to networks that"
        " have it"
    )
    assert all(method == "GET" for method, _ in serving.calls())


async def test_a_bridge_that_cards_are_too_large_for_is_refused(
    serving: Serving, make: Callable[[], Awaitable[Pushed]]
) -> None:
    serving.inside.mtus["vmbr0"] = "1500"
    with pytest.raises(ProxmoxError, match="the bridge vmbr0 has an MTU of 1500, and a card on"):
        await make()
    serving.inside.mtus["vmbr0"] = "9000"
    await make()


async def test_a_card_keeps_its_mtu_in_a_zone_that_has_more(
    serving: Serving, make: Callable[[], Awaitable[Pushed]]
) -> None:
    zones = {"netlab": {"type": "simple", "mtu": 9000}}
    serving.inside.sdn["zones"], serving.inside.pending["zones"] = dict(zones), dict(zones)
    await make()
    (made,) = serving.inside.vms
    assert made.config["net0"] == "virtio=02:4C:85:02:18:54,bridge=lan7,mtu=1500"
    assert ",mtu=9000" in made.config["net1"]


def test_nodes_that_are_pushed_one_by_one_meet_in_one_zone() -> None:
    """It has the MTU of all virtual networks of the lab, not of those that come first."""
    text = "name: x\nnodes: {a: {}, b: {}, c: {}}\nlinks:\n  - a:x -- b:x\n"
    plan = resolve(loads(f"{text}  - {{endpoints: [b:y, c:y], mtu: 9000}}\n"))
    mapping = parse_mapping("a:x--b:x=one,b:y--c:y=two")
    request = PushRequest(node="pve1", vmid=100, mapping=mapping)
    for name, cards in (("a", [1500]), ("b", [1500, 9000]), ("c", [9000])):
        calls = plan_calls(plan, [name], request)
        (zone,) = [call for call in calls if call.path == "/cluster/sdn/zones" and call.locked]
        (create,) = [call for call in calls if call.path.endswith("/qemu")]
        values = dict(create.parameters)
        written = [values[f"net{index}"].rpartition("=")[2] for index in range(len(cards))]
        assert (dict(zone.parameters)["mtu"], written) == ("9000", list(map(str, cards)))


def test_a_node_with_secure_boot_is_pushed_with_its_keys() -> None:
    firmware = "boot: disk, firmware: {secure_boot: true}"
    plan = resolve(loads(f"name: x\nnodes: {{a: {{image: debian, {firmware}}}}}\n"))
    calls = plan_calls(plan, ["a"], PushRequest(node="pve1"))
    (create,) = [call for call in calls if call.path.endswith("/qemu")]
    assert "efitype=4m,pre-enrolled-keys=1" in dict(create.parameters)["efidisk0"]


def with_mtu(bridge: str, mtu: int) -> Configuration:
    return make_configuration([
        (
            entry.key,
            f"{entry.value},mtu={mtu}" if f"bridge={bridge}" in entry.value else entry.value,
        )
        for entry in CONFIGURATION.entries
    ])


async def test_a_host_that_does_not_answer_is_not_told_as_a_number_that_is_taken(
    serving: Serving, sources: tuple[Source, ...], tmp_path: Path
) -> None:
    serving.inside.network["drop_rate"] = 1.0
    with pytest.raises(ProxmoxError, match="does not answer") as caught:
        await push_one(sources, serving, tmp_path)
    assert caught.value.hint is None


async def test_a_number_that_is_free_is_found(serving: Serving) -> None:
    assert await find_vmid(serving.host) == 100
    serving.inside.add_vm(100, "a")
    assert await find_vmid(serving.host) == 101


async def test_a_machine_of_somebody_else_is_never_touched(
    serving: Serving, make: Callable[[], Awaitable[Pushed]]
) -> None:
    serving.inside.add_vm(9001, "theirs", config={"tags": "production"})
    with pytest.raises(ProxmoxError, match="look whether 9001 is free") as caught:
        await make()
    assert "9001" in (caught.value.evidence or caught.value.message)
    assert serving.tags() == {9001: "production"}
    assert all(method == "GET" for method, _ in serving.calls())


async def test_a_machine_that_takes_the_number_meanwhile_is_left_alone(
    serving: Serving, sources: tuple[Source, ...], tmp_path: Path
) -> None:
    def report(progress: Progress) -> None:
        if progress.about.startswith("create the machine"):
            serving.inside.add_vm(9001, "theirs", config={"tags": "netlab;lab-pair"})

    with pytest.raises(ProxmoxError, match="already exists"):
        await push_one(sources, serving, tmp_path, report)
    # Not even one that has our tags: it was refused, so it is not ours.
    assert serving.tags() == {9001: "netlab;lab-pair"}


async def test_what_the_host_lacks_is_told_at_once_before_anything_is_changed(
    serving: Serving, make: Callable[[], Awaitable[Pushed]]
) -> None:
    inside = serving.inside
    inside.bridges = []
    inside.storages["local"]["content"] = "iso"
    inside.storages["local-lvm"]["content"] = "rootdir"
    with pytest.raises(
        ProxmoxError, match="pve1 cannot take the machine, for 3 reasons:"
    ) as caught:
        await make()
    assert (caught.value.evidence or "").splitlines() == [
        "the storage local-lvm does not take content of type images",
        "the storage local does not take content of type import",
        "there is no bridge vmbr0, or the token may not use it",
    ]
    assert all(method == "GET" for method, _ in serving.calls())


async def test_an_upload_that_is_there_already_is_not_written_over(
    serving: Serving, make: Callable[[], Awaitable[Pushed]]
) -> None:
    volumes = {"import/netlab-9001-scsi0.qcow2": {"content": "import", "size": 1}}
    serving.inside.storages["local"]["volumes"] = volumes
    with pytest.raises(ProxmoxError, match=r"netlab-9001-scsi0\.qcow2 is there already") as caught:
        await make()
    # A single reason is the message, and said once.
    assert caught.value.evidence is None
    assert list(serving.inside.storages["local"]["volumes"]) == ["import/netlab-9001-scsi0.qcow2"]


async def test_an_upload_that_cannot_be_removed_is_told_and_the_machine_stays(
    serving: Serving, sources: tuple[Source, ...], tmp_path: Path
) -> None:
    def report(progress: Progress) -> None:
        if progress.about.startswith("create the machine"):
            for volume in serving.inside.storages["local"]["volumes"].values():
                volume["protected"] = True

    pushed = await push_one(sources, serving, tmp_path, report)
    assert len(pushed.left) == 2
    assert "cannot remove the upload netlab-9001-efidisk0.raw" in pushed.left[0]
    assert serving.tags() == {9001: "lab-pair;netlab"}


def changed(*settings: tuple[str, str]) -> Configuration:
    old = [(entry.key, entry.value) for entry in CONFIGURATION.entries]
    return make_configuration([*old, *settings])


@pytest.mark.parametrize(
    "setting",
    [("args", "-S"), ("arch", "aarch64"), ("serial1", "/dev/ttyS0")],
    ids=lambda setting: setting[0],
)
async def test_what_a_token_may_not_set_is_refused_before_the_first_call(
    setting: tuple[str, str], serving: Serving, sources: tuple[Source, ...], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="only by root"):
        await push_one(sources, serving, tmp_path, configuration=changed(setting))
    assert serving.inside.requests == []


async def test_what_the_tables_call_roots_is_roots_for_the_host_as_well(serving: Serving) -> None:
    from netlab.proxmox.schema import RULES
    from netlab.proxmox.target import _TOKEN_KEYS, RENEWED

    private = {key for key in RULES if serving.inside._config_priv(key) == "root"}
    numbered = {key for key in private if RULES[key].count is not None}
    assert private - numbered == {"arch", "args", *RENEWED}
    assert not _TOKEN_KEYS & private


def test_everything_that_is_wrong_with_a_push_is_told_at_once() -> None:
    options = replace(
        OPTIONS,
        node="pve 1",
        storage="-",
        import_storage="a/b",
        networks=(VirtualNetwork("much-too-long", ""),),
    )
    sources = (Source("scsi1", Path("x"), "raw", 1),)
    untagged = make_configuration([
        (entry.key, entry.value) for entry in CONFIGURATION.entries if entry.key != "tags"
    ])
    other = machine(None)
    with pytest.raises(ConfigurationError) as caught:
        plan_push([replace(machine(sources, untagged), vmid=1), other, other], options)
    assert [(mistake.file, mistake.path) for mistake in caught.value.mistakes] == [
        ("push", "import-storage"), ("push", "networks"), ("push", "node"), ("push", "storage"),
        ("push", "vmid"), (NAME, "efidisk0"), (NAME, "scsi0"), (NAME, "scsi1"), (NAME, "tags"),
        (NAME, "vmid"),
    ]  # fmt: skip
