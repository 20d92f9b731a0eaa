"""The part of the language that says what else a machine has: its model, identity and secrets."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from netlab.topology.cloudinit import CloudInit
from netlab.topology.contents import Content
from netlab.topology.forms import Entries, Several
from netlab.topology.hardware import Cdrom
from netlab.topology.links import Model
from netlab.topology.scalars import Flag, Name, Text, Uuid, flag, text_of, uuid
from netlab.topology.shares import Share
from netlab.topology.source import WrongError, quote

_CPU = re.compile(r"[A-Za-z0-9][\w.-]*(,([+-][\w.-]+|[\w.-]+=[\w.-]+))*", re.ASCII)
_CREDENTIAL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
# QEMU hands a string on as it is, and firmware knows no encoding but this.
_STRING = re.compile(r"[ -~]+")

MAXIMUM_SMBIOS = 64
"""Most characters of a string in SMBIOS's table of a system (DSP0134 2.6, and firmware since)."""

MAXIMUM_OEM = 1024
"""Most characters of an OEM string: the whole table has 64 KiB."""


def _cpu(text: str) -> str:
    if text.isdecimal():
        # That is what containerlab and ipSpace netlab mean by the word.
        hint = f"write cpus: {text} for so many; the model 486 is 486-v1, too"
        raise WrongError(f"{quote(text)} is a number, and cpu is a model", hint)
    if not _CPU.fullmatch(text):
        hint = "write a model of QEMU's, with features behind it: Haswell,+aes,-pcid"
        raise WrongError(f"{quote(text)} is not a model of a CPU", hint)
    return text


def _generation(value: object) -> bool | str:
    if isinstance(value, bool) or value in ("true", "false"):
        return flag(value)
    text = text_of(value, "true, false or a UUID")
    try:
        return uuid(text)
    except WrongError:
        raise WrongError(f"{quote(text)} is neither true, false nor a UUID") from None


def _credential(name: str) -> str:
    if not _CREDENTIAL.fullmatch(name):
        hint = "1 to 100 letters, digits, '_', '-' and '.', none of the last two first"
        raise WrongError(f"{quote(name)} cannot be the name of a credential", hint)
    return name


def _string(longest: int) -> AfterValidator:
    def check(text: str) -> str:
        if not _STRING.fullmatch(text) or len(text) > longest:
            hint = f"1 to {longest} printable characters of ASCII"
            raise WrongError(f"{quote(text)} cannot be a string of SMBIOS", hint)
        return text

    return AfterValidator(check)


def _argument(text: str) -> str:
    if "\0" in text:
        raise WrongError(f"{quote(text)}: a zero byte cannot be passed to a program")
    return text


SmbiosText = Annotated[Name, _string(MAXIMUM_SMBIOS)]
OemText = Annotated[Name, _string(MAXIMUM_OEM)]
CpuModel = Annotated[Name, AfterValidator(_cpu)]
CredentialName = Annotated[Name, AfterValidator(_credential)]
Argument = Annotated[Text, AfterValidator(_argument)]
Generation = Annotated[
    bool | Uuid,
    PlainValidator(_generation),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "string"}]}),
]


class Smbios(Model):
    """What the machine's firmware says of it: SMBIOS's table of a system, and OEM strings."""

    manufacturer: SmbiosText | None = Field(
        default=None, description="Who made it: /sys/class/dmi/id/sys_vendor; QEMU by default."
    )
    product: SmbiosText | None = Field(
        default=None, description="What it is: /sys/class/dmi/id/product_name."
    )
    version: SmbiosText | None = Field(default=None, description="Which version of that.")
    serial: SmbiosText | None = Field(default=None, description="Its serial number.")
    sku: SmbiosText | None = Field(default=None, description="Its stock keeping unit.")
    family: SmbiosText | None = Field(default=None, description="The family of machines.")
    oem_strings: Annotated[tuple[OemText, ...], Several()] = Field(
        default=(), description="Strings of table 11, for programs that look for them there."
    )


class Devices(Model):
    """What a machine has beside processors in number, memory, disks and network cards."""

    cdroms: Annotated[tuple[Cdrom, ...], Several()] | None = Field(
        default=None,
        description=(
            "Images of CD-ROMs in drives of its own, in their order. Its firmware looks at them "
            "when no disk before starts."
        ),
    )
    shares: Annotated[tuple[Share, ...], Several()] | None = Field(
        default=None,
        description=(
            "Folders of the host that its guest sees: FOLDER:TARGET, or mappings. Read-only "
            "unless they say writable."
        ),
    )
    cpu: CpuModel | None = Field(
        default=None,
        description=(
            "Its CPU, as QEMU names it, with features: Haswell,+aes,-pcid. By default the host's "
            "under KVM, and all that QEMU emulates under TCG."
        ),
    )
    rng: Flag | None = Field(
        default=None,
        description="Whether it has a source of random numbers (virtio-rng): true by default.",
    )
    tpm: Flag | None = Field(
        default=None,
        description="Whether it has a TPM 2.0, by swtpm on the host: false by default.",
    )
    vmgenid: Generation | None = Field(
        default=None,
        description=(
            "Whether it has a VM generation id, by which a guest notices that it is a copy: "
            "false (the default), true (a function of its UUID), or a UUID."
        ),
    )
    smbios: Smbios | None = Field(
        default=None, description="What its firmware says of it: manufacturer, product, serial …"
    )
    credentials: Annotated[dict[CredentialName, Content], Entries()] | None = Field(
        default=None,
        description=(
            "Credentials for systemd in the guest (SMBIOS) by name: text, or {from}. No command "
            "line has them."
        ),
    )
    cloud_init: CloudInit | None = Field(
        default=None,
        description=(
            "A seed for cloud-init in its guest: true, or users, keys and more. What netlab does "
            "not configure (configure: false), cloud-init does by it."
        ),
    )
    qemu_args: Annotated[tuple[Argument, ...], Several()] | None = Field(
        default=None,
        description=(
            "The way out: arguments for QEMU, behind all others, each as it is. netlab knows "
            "nothing of what they do."
        ),
    )
