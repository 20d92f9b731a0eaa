"""Configurations made by chance: most settings as they may be, some as they may not."""

from __future__ import annotations

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


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    return make_configuration(
        draw(st.dictionaries(KEYS, VALUES, max_size=6)).items(),
        description=draw(DESCRIPTIONS),
        maps=draw(st.lists(MAPS, max_size=2, unique_by=lambda one: one.drive)),
    )
