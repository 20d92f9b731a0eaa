"""What starts a node, and from what: each combination that is accepted comes up for real."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from pathlib import Path

import pytest
import trio

from netlab import open_lab, resolve
from netlab.errors import AgentError, InputError
from netlab.image.bootdisk import write_configuration, write_disk
from netlab.image.store import Image, open_store
from netlab.lab.lab import Lab
from netlab.machine.firmware import FOLDER, VARIABLES
from netlab.machine.kept import kept_folder, list_kept
from netlab.plan.files import anchor
from netlab.process import run
from netlab.testing import LabDriver
from netlab.topology.load import loads
from tests.lab.conftest import Home

pytestmark = pytest.mark.machines

LIMIT = 240

MICRO = """\
name: boots
nodes:
  bios: {id: 1, disk: none, memory: 132}
  one: {id: 2, firmware: uefi}
  other: {id: 3, firmware: uefi, vlans: [7]}
  arm: {id: 4, arch: aarch64, memory: 117, cpus: 2, vlans: [7]}
  arm-uefi:
    {id: 5, arch: aarch64, memory: 201, firmware: uefi, smbios: {product: Box}, vlans: [7]}
"""


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def say(lab: Lab, node: str, command: str) -> str:
    result = await lab[node].execute(["sh", "-c", command])
    return (result.stdout + result.stderr).decode().strip()


async def firmware(lab: Lab, node: str) -> str:
    return await say(lab, node, "[ -d /sys/firmware/efi ] && echo uefi || echo bios")


async def check_architectures(lab: Lab) -> None:
    """Machines of two architectures are side by side, and reach each other."""
    machines = {"other": "x86_64", "arm": "aarch64", "arm-uefi": "aarch64"}
    for name, arch in machines.items():
        assert await say(lab, name, "uname -m; hostname") == f"{arch}\n{name}"
        for other in machines:
            assert "1 received" in await say(lab, name, f"ping -c1 -W9 {other}")
    assert lab.accels["arm"].accel == "tcg"
    assert await say(lab, "arm", "nproc") == "2"
    assert await say(lab, "arm-uefi", "cat /sys/class/dmi/id/product_name") == "Box"


async def test_micro_starts_from_either_firmware_with_variables_of_its_own(tmp_path: Path) -> None:
    template = digest(FOLDER / VARIABLES)
    async with open_lab(resolve(loads(MICRO)), folder=tmp_path) as lab:
        with trio.fail_after(LIMIT):
            await lab.wait_ready()
            found = [await firmware(lab, node) for node in lab.nodes]
            assert found == ["bios", "uefi", "uefi", "bios", "uefi"]
            await check_architectures(lab)
            stores = [tmp_path / "nodes" / node / "vars.fd" for node in ("bios", "one", "other")]
            assert [store.exists() for store in stores] == [False, True, True]
            assert [store.stat().st_mode & 0o777 for store in stores[1:]] == [0o600, 0o600]
            assert digest(stores[1]) != template
            async with lab.open_cut(["bios", "one"]) as cut:
                copies = [machine.variables for machine in cut.machines]
                assert [copy and digest(Path(copy)) for copy in copies] == [None, digest(stores[1])]
            await check_tmpfs(lab, tmp_path / "nodes" / "bios")
            before = stores[1].stat().st_ino
            await lab["one"].shutdown()
            await lab["one"].start()
            await lab["one"].wait_ready()
            assert stores[1].stat().st_ino == before
    assert not any(store.exists() for store in stores)
    assert digest(FOLDER / VARIABLES) == template


async def check_tmpfs(lab: Lab, folder: Path) -> None:
    """A root without a disk is a tmpfs of mode 0755, forgotten with the machine, and no file."""
    mounts = "awk '$5 == \"/\"' /proc/self/mountinfo"
    told = await say(lab, "bios", f"touch /kept; stat -c %a /; {mounts}")
    mode, *found = told.splitlines()
    assert (mode, [line.partition(" - ")[2].split()[0] for line in found]) == ("755", ["tmpfs"])
    await check_findmnt(lab)
    assert not [path for path in await trio.Path(folder).iterdir() if path.suffix != ".log"]
    await lab["bios"].shutdown()
    await lab["bios"].start()
    await lab["bios"].wait_ready()
    assert await say(lab, "bios", "test -e /kept; echo $?") == "1"


async def check_findmnt(lab: Lab) -> None:
    """util-linux sees it like that too: this host's findmnt, with the libraries that it needs."""
    program = shutil.which("findmnt")
    assert program is not None
    words = (await run(("ldd", program))).stdout.decode().split()
    libraries = {path for path in words if path.startswith("/")}
    for path in (program, *libraries):
        await LabDriver(lab)["bios"].copy_to(path, f"/root/{Path(path).name}")
    loader = next(Path(path).name for path in libraries if Path(path).name.startswith("ld-"))
    found = await say(
        lab, "bios", f"cd /root; ./{loader} --library-path . ./findmnt -no FSTYPE,OPTIONS /"
    )
    kind, _, options = found.partition(" ")
    assert kind == "tmpfs"
    assert "mode=755" in options.split(",")
    assert await say(lab, "bios", "rm /root/*") == ""


# The least memory that each may have: more would not show that it is enough. BIOS and kernel are
# what every node of tests/testing/test_systems.py has.
DEBIAN = """\
name: systems
defaults: {image: debian}
nodes:
  bios-disk:
    id: 2
    memory: 257
    boot: disk
    disk: {bus: scsi, size: 6 GiB}
    shares: [FOLDER:/srv/a, FOLDER:/usr/share/info, {source: FOLDER, target: /opt, shadow: true}]
  uefi-kernel: {id: 3, memory: 341, firmware: uefi, disk: {bus: nvme}}
  uefi-disk:
    {id: 4, memory: 341, firmware: {secure_boot: true}, boot: disk, disk: {bus: scsi, serial: root}}
links: [{endpoints: ["bios-disk:lan", "uefi-[kernel,disk]:lan"], subnet: 10.1.0.0/24}]
"""

# A variable of nobody's with the attributes NON_VOLATILE, BOOTSERVICE_ACCESS and RUNTIME_ACCESS
# (UEFI 2.10, section 8.2), then its value.
VARIABLE = "/sys/firmware/efi/efivars/Kept-2d1f5cf0-6e0b-4f6a-9a43-5b0f1a7e3c11"
SECURE = "od -An -tu1 /sys/firmware/efi/efivars/SecureBoot-*; cat /sys/kernel/security/lockdown"
WRITE = f"printf '\\007\\000\\000\\000kept' >{VARIABLE}"


async def test_debian_starts_from_every_firmware_by_kernel_and_by_its_own_loader(
    tmp_path: Path,
) -> None:
    (tmp_path / "shared").touch()
    async with open_lab(resolve(loads(DEBIAN.replace("FOLDER", str(tmp_path))))) as lab:
        with trio.fail_after(2 * LIMIT):
            await lab.wait_ready()
            for name in lab.nodes:
                kind, _, source = name.partition("-")
                assert await firmware(lab, name) == kind
                # GRUB hands its own path of the kernel to the kernel.
                loader = "BOOT_IMAGE" in await say(lab, name, "cat /proc/cmdline")
                assert loader == (source == "disk")
                assert await say(lab, name, "hostname") == name
            assert await say(lab, "bios-disk", "cat /sys/block/sda/size") == str(6 << 21)
            assert "scsi-" in await say(lab, "uefi-disk", "ls /dev/disk/by-id/*_root")
            source = await say(lab, "uefi-kernel", "findmnt -no SOURCE /")
            assert source.startswith("/dev/nvme0n1p")
            assert "1 received" in await say(lab, "uefi-disk", "ping -c1 -W9 bios-disk")
            await check_shares(lab)
            await check_secure_boot(lab)
            await check_variables(lab)


async def check_shares(lab: Lab) -> None:
    """A system that is whole has no device for a share of its own paths, unless it is forced."""
    assert await say(lab, "bios-disk", "ls /srv/a /opt /usr/share/info | grep -c shared") == "2"
    mounted = await say(lab, "bios-disk", "findmnt -nt virtiofs -o TARGET,OPTIONS")
    assert [line.split(",")[0].split() for line in mounted.splitlines()] == [
        ["/srv/a", "ro"],
        ["/opt", "ro"],
    ]
    devices = {
        name: sum("vhost-user-fs" in word for word in node.machine.argv)
        for name, node in lab.nodes.items()
    }
    assert devices == {"bios-disk": 2, "uefi-kernel": 0, "uefi-disk": 0}


async def check_secure_boot(lab: Lab) -> None:
    """The firmware says that it checked, and the kernel believes it."""
    told = {name: await say(lab, name, SECURE) for name in ("uefi-kernel", "uefi-disk")}
    assert told["uefi-kernel"].split()[:5] == ["6", "0", "0", "0", "0"]
    assert told["uefi-disk"].split()[:5] == ["6", "0", "0", "0", "1"]
    assert "[integrity]" in told["uefi-disk"]


async def check_variables(lab: Lab) -> None:
    """What a node has written and its firmware remembers stays while it is off; no other has it."""
    assert await say(lab, "uefi-disk", f"{WRITE}; echo kept >/root/kept") == ""
    await lab["uefi-disk"].shutdown()
    await lab["uefi-disk"].start()
    await lab["uefi-disk"].wait_ready()
    assert (await say(lab, "uefi-disk", f"cat {VARIABLE}")).endswith("kept")
    assert await say(lab, "uefi-disk", "cat /root/kept") == "kept"
    assert "1 received" in await say(lab, "uefi-kernel", "ping -c1 -W9 uefi-disk")
    assert "No such file" in await say(lab, "uefi-kernel", f"cat {VARIABLE}")


DISKS = """\
name: disks
nodes:
  "n[1-2]":
    id: 1
    disks:
      - {size: 64 MiB, serial: empty}
      - {file: data.raw, format: raw, serial: data}
      - {file: data.raw, format: raw, serial: only-read, read_only: true}
      - {file: data.qcow2, format: qcow2, serial: grown, size: 3 MiB}
      - {size: 8 MiB, serial: kept, persist: true}
"""
LIST = (
    "cd /sys/block;"
    " for disk in vd?; do echo $(cat $disk/serial; echo; cat $disk/size $disk/ro); done"
)


FOREIGN = """\
name: foreign
defaults: {image: none, arch: x86_64, memory: 256, configure: false}
nodes:
  pc:
    machine: pc
    disk: {file: system.raw, format: raw, bus: scsi, serial: system}
    uuid: 6F6B3F0C-7F3B-4C53-9D6F-0A4F5E6D7C81
    interfaces: {net0: {vlan: 7, mac: "BC:24:11:00:00:01"}}
  pc-uefi: {machine: pc, firmware: {vars: vars.fd}, disk: {file: system.raw, format: raw}}
  q35-uefi: {firmware: uefi, disk: {file: system.raw, format: raw, bus: sata}}
  silent: {agent: false, disk: {file: system.raw, format: raw, bus: sata}}
  arm: {arch: aarch64, disk: {file: arm.raw, format: raw}}
"""


async def test_a_system_of_somebody_elses_boots_as_it_is(tmp_path: Path) -> None:
    store = open_store()
    image, system = await store.ensure("micro"), tmp_path / "system.raw"
    await write_disk(
        system,
        await store.ensure_loader(),
        identity=uuid.UUID("0f7a6c7e-4f43-4c3f-8a53-0c1d2e3f4a5b"),
        configuration=write_configuration(kernel="/kernel", initrd="/initrd", append=image.append),
        files={"kernel": image.packed_kernel, "initrd": image.initrd},
    )
    await write_arm_disk(await store.ensure("micro-aarch64"), tmp_path / "arm.raw")
    (tmp_path / "vars.fd").write_bytes((FOLDER / VARIABLES).read_bytes())
    before = digest(system), digest(tmp_path / "vars.fd")
    plan = anchor(resolve(loads(FOREIGN)), str(tmp_path))
    async with open_lab(plan, folder=tmp_path) as lab:
        with trio.fail_after(LIMIT):
            await lab.wait_ready()
            found = [await firmware(lab, node) for node in ("pc", "pc-uefi", "q35-uefi", "arm")]
            assert found == ["bios", "uefi", "uefi", "uefi"]
            assert await say(lab, "arm", "uname -m; ls /sys/block") == "aarch64\nvda"
            told = await say(
                lab, "pc", "cat /sys/class/dmi/id/product_uuid /sys/class/net/*/address"
            )
            assert told.splitlines() == [
                "6f6b3f0c-7f3b-4c53-9d6f-0a4f5e6d7c81",
                "bc:24:11:00:00:01",
                "00:00:00:00:00:00",
            ]
            assert await say(lab, "pc", "hostname") != "pc"
            await check_silent(lab)
    assert (digest(system), digest(tmp_path / "vars.fd")) == before


async def write_arm_disk(image: Image, path: Path) -> None:
    """Make a disk that UEFI's own shell starts: no loader for aarch64 has to be there."""
    await run(("qemu-img", "create", "-q", "-f", "raw", str(path), "64M"))
    start = path.with_suffix(".nsh")
    start.write_text(f"kernel.efi initrd=\\initrd {image.append}\r\n")
    await run(("mformat", "-i", str(path), "-F", "::"))
    files = {"kernel.efi": image.kernel, "initrd": image.initrd, "startup.nsh": start}
    for name, source in files.items():
        await run(("mcopy", "-i", str(path), str(source), f"::{name}"))


async def check_silent(lab: Lab) -> None:
    """Nothing can be run in a guest without an agent, and it can be seen, reset and ended."""
    silent = lab["silent"]
    assert (silent.state, silent.reason()) == ("ready", "")
    with pytest.raises(AgentError, match=r"silent has no agent \(the topology says agent: false\)"):
        await silent.execute(["true"])
    await silent.wait_console_text("micro:~#", since=0)
    await silent.crash()
    assert silent.state == "stopped"


async def test_disks_are_layers_of_a_node_over_files_that_nobody_writes_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    raw, packed = tmp_path / "data.raw", tmp_path / "data.qcow2"
    raw.write_bytes(b"content!" * (1 << 17))
    await run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(packed)])
    before = digest(raw), digest(packed)
    plan = anchor(resolve(loads(DISKS)), str(tmp_path))
    async with open_lab(plan, folder=tmp_path) as lab:
        with trio.fail_after(LIMIT):
            await lab.wait_ready()
            listed = ["empty 131072 0", "data 2048 0", "only-read 2048 1", "grown 6144 0"]
            listed.append("kept 16384 0")
            assert (await say(lab, "n1", LIST)).splitlines() == listed
            writes = "for disk in a b d e; do echo n1 | dd of=/dev/vd$disk conv=fsync; done"
            await say(lab, "n1", writes)
            await say(lab, "n1", "echo n1 | dd of=/dev/vdc conv=fsync")
            await lab["n1"].shutdown()
            await lab["n1"].start()
            await lab["n1"].wait_ready()
            read = "for disk in a b c d; do head -c 8 /dev/vd$disk | head -n 1 | tr -d '\\0'; done"
            assert (await say(lab, "n1", read)).split() == ["n1", "n1", "content!n1"]
            assert await say(lab, "n2", read) == "content!content!content!"
            folder = tmp_path / "nodes" / "n1"
            assert len(list(folder.glob("*.qcow2"))) == 4
            # QEMU itself has the file that is only read open for nothing else.
            assert open_modes(lab["n1"].pid, raw) == {os.O_RDONLY}
    assert not any(folder.glob("*.qcow2"))
    kept = {disk.name: disk.path for disk in list_kept(kept_folder())}
    assert list(kept) == ["disks/n1/kept", "disks/n2/kept"]
    written = await run([
        "qemu-io",
        "-f",
        "qcow2",
        "-c",
        "read -v 0 16",
        str(kept["disks/n1/kept"]),
    ])
    assert b"6e 31 0a" in written.stdout
    assert (digest(raw), digest(packed)) == before


def open_modes(pid: int | None, path: Path) -> set[int]:
    """Return how a process has a file open."""
    modes: set[int] = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if link.resolve() == path.resolve():
            flags = (
                Path(f"/proc/{pid}/fdinfo/{link.name}").read_text().split("flags:")[1].split()[0]
            )
            modes.add(int(flags, 8) & os.O_ACCMODE)
    return modes


async def test_files_that_do_not_fit_are_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "data.raw").write_bytes(bytes(512))
    plan = anchor(resolve(loads(DISKS)), str(tmp_path))
    with pytest.raises(InputError, match=r"n2: .*data\.qcow2: there is no such file"):
        async with open_lab(plan, folder=tmp_path / "lab"):
            pass
    assert not (tmp_path / "lab" / "nodes").exists()


def test_up_finds_files_beside_the_topology_and_names_all_that_are_not_there(
    home: Home, tmp_path: Path
) -> None:
    path = tmp_path / "disks.yaml"
    path.write_text(DISKS.replace("id: 1", "id: 1\n    firmware: {vars: efi.raw}"))
    told = home.run("up", str(path), status=2).stderr
    for name in ("data.raw", "data.qcow2", "efi.raw"):
        assert f"n1: {tmp_path / name}: there is no such" in told
    assert str(tmp_path) not in home.run("plan", str(path), "-f", "json").stdout
