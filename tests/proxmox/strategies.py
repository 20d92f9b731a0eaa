"""Configurations made by chance: most settings as they may be, some as they may not."""

from __future__ import annotations

import re

from hypothesis import strategies as st

from netlab.proxmox.configuration import Configuration, DriveMap, make_configuration
from netlab.proxmox.schema import RULES

PLAIN = (
    "0", "1", "2", "15", "16", "4094", "4095", "65520", "65521", "-1", "+1", "1.5", "on", "none",
    "socket", "ovmf", "seabios", "q35", "pc", "pc-q35-9.2+pve1", "virt", "host", "max", "l26",
    "W2K", "std", "serial0", "virtio", "qxl", "virtio-scsi-single", "x86_64", "/dev/urandom", "cdn",
    "order=scsi0;net0", "order=scsi0,net0", "order=", "enabled=1", "enabled=2", "1,type=isa",
    "current=512", "a-b.c", "a_b", "-a", "a;b", "a;;b", "netlab;lab-x", "x86-64-v2-AES,flags=+aes",
    "x86-64-v2-AES,flags=aes", "local:vm-1-disk-0", "local:vm-1-disk-0,size=8G,discard=on",
    "local:vm-1-disk-0,efitype=4m,size=528K", "local:vm-1-disk-0,efitype=4M", "l:vm",
    "none,media=cdrom", "local:vm-1-disk-0, size=8G", "local:vm-1-disk-0,version=v2.0",
    "local:a b,size=1G",
    "virtio=02:00:00:00:00:01",
    "virtio=02:00:00:00:00:01,bridge=vmbr0,tag=7", "virtio=03:00:00:00:00:01,bridge=vmbr0",
    "e1000=02:00:00:00:00:01,mtu=1400", "virtio,bridge=vmbr0,mtu=9000,link_down=1", "bridge=vmbr0",
    "virtio=02:00:00:00:00:01,tag=4095", "virtio=02:00:00:00:00:01,tag=7,tag=8", "uuid=1", "",
    "uuid=607767c3-55d3-85de-a139-001c328e2cca", "607767c3-55d3-85de-a139-001c328e2cca", "a\nb",
    "source=/dev/random,max_bytes=1", "creation-qemu=9.2.0,ctime=1", "a=b", "=", ",", "virtio,,",
)  # fmt: skip

KEYS = st.sampled_from(sorted(RULES)).flatmap(
    lambda name: (
        st.just(name)
        if RULES[name].count is None
        else st.integers(0, 33).map(lambda number: f"{name}{number}")
    )
)
VALUES = st.sampled_from(PLAIN) | st.text(
    st.sampled_from("abz019=,;:-_. %"), min_size=1, max_size=12
)
LINES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n"), max_size=12)
DESCRIPTIONS = st.lists(LINES, max_size=3).map("\n".join)
WORDS = st.text(st.sampled_from("abz019._-"), min_size=1, max_size=8)
MAPS = st.builds(DriveMap, KEYS, WORDS, WORDS | st.just(""), st.sampled_from(["raw", "qcow2", ""]))


LIKELY = {
    "agent": ("1", "enabled=1,fstrim_cloned_disks=1", "1,type=isa"),
    "arch": ("x86_64", "aarch64"),
    "args": ("-device foo,bar=1", "-S"),
    "balloon": ("0", "512"),
    "bios": ("ovmf", "seabios"),
    "boot": ("cdn", "legacy=n"),
    "cores": ("1", "128"),
    "cpu": ("host", "x86-64-v2-AES,flags=+aes;-pcid", "cputype=EPYC,hidden=1"),
    "efidisk": ("local:vm-1-disk-0,efitype=4m,pre-enrolled-keys=1,size=528K", "local:v"),
    "machine": ("q35", "pc-q35-9.2+pve1", "pc-i440fx-8.1", "q35,viommu=intel", "type=virt"),
    "memory": ("16", "4096", "current=2048"),
    "meta": ("creation-qemu=9.2.0,ctime=1700000000", "ctime=1"),
    "name": ("a", "web.example.org", "A-1.b"),
    "net": (
        "virtio=02:00:00:00:00:01,bridge=vmbr0,mtu=9000,queues=4,tag=4094,trunks=1;5-9",
        "e1000=BC:24:11:aa:bb:cc,bridge=lan_7,firewall=1,link_down=1,rate=0.5",
        "model=virtio,macaddr=02:00:00:00:00:01",
        "rtl8139",
    ),
    "ostype": ("l26", "win11", "other"),
    "rng": ("/dev/urandom", "source=/dev/random,max_bytes=1024,period=1000"),
    "scsihw": ("virtio-scsi-single", "lsi"),
    "serial": ("socket", "/dev/ttyS0"),
    "smbios1": ("uuid=607767c3-55d3-85de-a139-001c328e2cca,base64=1,product=YWI=",),
    "tags": ("netlab;lab-x", "a"),
    "tpmstate": ("local:1/vm-1-disk-0.raw,size=4M,version=v2.0",),
    "vga": ("std", "virtio,memory=64", "none", "qxl2"),
    "vmgenid": ("1", "607767c3-55d3-85de-a139-001c328e2cca"),
    **dict.fromkeys(
        ("ide", "sata", "scsi", "virtio"),
        (
            "local-lvm:vm-100-disk-0,aio=native,backup=0,cache=none,discard=on,size=1.5G",
            "a.b_c:100/vm-100-disk-0.qcow2,format=qcow2,replicate=0,serial=a%20b,size=32G",
            "none,media=cdrom",
            "local:iso/x.iso,media=cdrom,size=4M",
        ),
    ),
}
"""Values that settings may have; all others are 0 or 1."""


@st.composite
def edited(draw: st.DrawFn, text: str) -> str:
    """Return text as it is, or with one letter changed, taken out or put in."""
    at = draw(st.integers(0, len(text)))
    new = draw(st.sampled_from(["", *"aZ09,=;:-_. %+/\n"]))
    return draw(
        st.sampled_from([
            text,
            text,
            text,
            text[:at] + new + text[at + 1 :],
            text[:at] + new + text[at:],
        ])
    )


@st.composite
def likely_configurations(draw: st.DrawFn) -> Configuration:
    """Return a configuration of which most keep every rule, and the others just do not."""
    settings = {"scsi0": "a1:v", "net0": "virtio", "serial0": "socket", "bios": "ovmf"}
    settings["scsihw"] = "virtio-scsi-single"
    for key in draw(st.lists(KEYS, max_size=5)):
        values = LIKELY.get(re.sub("[0-9]+$", "", key), LIKELY.get(key, ("0", "1")))
        settings[key] = draw(edited(draw(st.sampled_from(values))))
    if draw(st.booleans()):
        settings["boot"] = draw(edited("order=scsi0;net0"))
    return make_configuration(settings.items(), description=draw(DESCRIPTIONS))


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    return make_configuration(
        draw(st.dictionaries(KEYS, VALUES, max_size=6)).items(),
        description=draw(DESCRIPTIONS),
        maps=draw(st.lists(MAPS, max_size=2, unique_by=lambda one: one.drive)),
    )
