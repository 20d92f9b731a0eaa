"""The part of the language that says what a machine is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from netlab.topology.forms import Schema, also_one_of, also_text
from netlab.topology.links import Model
from netlab.topology.names import check_digest, check_source
from netlab.topology.scalars import DiskSize, Flag, HostPath, Name, Serial, choice
from netlab.topology.source import WrongError


class Firmware(Model):
    """What starts a machine: a word, or a build of UEFI firmware."""

    model_config = ConfigDict(json_schema_extra=also_one_of("bios", "uefi"))

    kind: Annotated[str, *choice("bios", "uefi")] = Field(
        default="uefi", description="bios, which QEMU has, or uefi."
    )
    code: HostPath | None = Field(
        default=None,
        description="A file with the firmware's program, relative to the topology; needs vars.",
    )
    vars: HostPath | None = Field(
        default=None,
        description=(
            "A file, relative to the topology, that each node's variable store is made from, once."
        ),
    )
    secure_boot: Flag = Field(
        default=False,
        description=(
            "Whether the firmware starts only loaders that are signed (UEFI Secure Boot, with "
            "Microsoft's keys unless vars has others); needs boot: disk and machine: q35."
        ),
    )

    @model_validator(mode="before")
    @staticmethod
    def _read_short_form(value: object) -> object:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_files(self) -> Firmware:
        if self.kind == "bios" and (self.code or self.vars):
            raise WrongError("code and vars are UEFI's: the BIOS is QEMU's own")
        if self.kind == "bios" and self.secure_boot:
            raise WrongError("Secure Boot is UEFI's", "write kind: uefi, or leave kind out")
        if self.code and not self.vars:
            raise WrongError("code needs the vars of the same build", "give both, or vars alone")
        return self


HostSource = Annotated[Name, AfterValidator(check_source)]
Digest = Annotated[Name, AfterValidator(check_digest)]

_DIGEST = "What has to be in the file: sha256: and 64 hexadecimal digits, or sha512: and 128."


class Disk(Model):
    """A disk: a file of the host's, an empty one, or what is to be different of the image's."""

    file: HostSource | None = Field(
        default=None,
        description=(
            "A file of the host, relative to the topology, or one of the net (https://…). What the "
            "node writes goes into a layer of its own above; the file is never written to."
        ),
    )
    digest: Digest | None = Field(default=None, description=_DIGEST)
    format: Annotated[str, *choice("raw", "qcow2")] | None = Field(
        default=None, description="What the file is: raw or qcow2. It is never guessed."
    )
    netboot: Name | None = Field(
        default=None,
        description=(
            "An image, or the recipe of an own one: the disk is a tar archive with what others "
            "need to boot it from the network: kernel, initrd, boot.ipxe. It can only be read."
        ),
    )
    size: DiskSize | None = Field(
        default=None,
        description="Its size in MiB, or as 512 MiB, 2 GiB or 1 TiB: of an empty one, or to grow.",
    )
    bus: Annotated[str, *choice("virtio", "scsi", "sata", "nvme")] = Field(
        default="virtio", description="What it hangs on: virtio (the default), scsi, sata or nvme."
    )
    serial: Serial | None = Field(
        default=None, description="The serial number that the guest reads: at most 20 characters."
    )
    discard: Flag = Field(
        default=True, description="Whether the host takes back what the guest discards."
    )
    read_only: Flag = Field(default=False, description="Whether the guest may only read it.")
    persist: Flag = Field(
        default=False,
        description=(
            "Whether what the node writes to it stays when the lab goes; it is found again by its "
            "serial. `netlab disk rm` removes it."
        ),
    )

    @model_validator(mode="after")
    def _check_format(self) -> Disk:
        if self.file is not None and self.format is None:
            raise WrongError("the format of the file is missing", "write format: raw, or qcow2")
        if self.netboot is not None and (self.file or self.format or self.size):
            raise WrongError("netboot says what is on it", "leave out file, format and size")
        if self.file is None and self.format is not None:
            raise WrongError("format is the file's, and there is none")
        if self.persist and self.serial is None:
            raise WrongError("a disk that persists is known by its serial", "write serial: data")
        _check_digest(self.file, self.digest)
        return self

    @model_validator(mode="after")
    def _check_read_only(self) -> Disk:
        if not (self.read_only or self.netboot):
            return self
        if self.bus in {"sata", "nvme"}:
            # QEMU's nvme takes one, and tells the guest only when it has written.
            raise WrongError(f"a disk on {self.bus} cannot be read-only", "use virtio or scsi")
        if self.file is not None and self.size is not None:
            raise WrongError("a file that is only read cannot grow", "leave out size or read_only")
        if self.persist:
            raise WrongError("a disk that is only read has nothing to keep", "leave out persist")
        return self


NO_DISK = Disk.model_construct()
"""Stands for no root disk at all, by the word ``none`` or by nothing behind the key."""


@dataclass(frozen=True, slots=True)
class OrNoDisk:
    """A disk, or none: of all keys this is the one that nothing says something about."""

    def __get_pydantic_core_schema__(
        self, source: type, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(_read_disk, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Schema:
        return {"anyOf": [{"const": "none"}, *handler(schema)["anyOf"]]}


def _read_disk(value: object, read: ValidatorFunctionWrapHandler) -> object:
    return NO_DISK if value is None or value == "none" else read(value)


class Cdrom(Model):
    """A CD-ROM: an image of one, which the guest may only read."""

    model_config = ConfigDict(json_schema_extra=also_text("The file with the image (ISO)."))

    file: HostSource = Field(
        description=(
            "The file with the image (ISO): of the host, relative to the topology, or of the net."
        )
    )
    digest: Digest | None = Field(default=None, description=_DIGEST)
    bus: Annotated[str, *choice("scsi", "sata")] | None = Field(
        default=None,
        description="What its drive hangs on: sata, where the image has no driver for it scsi.",
    )

    @model_validator(mode="before")
    @staticmethod
    def _read_short_form(value: object) -> object:
        return {"file": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_content(self) -> Cdrom:
        _check_digest(self.file, self.digest)
        return self


def _check_digest(file: str | None, digest: str | None) -> None:
    if digest is not None and file is None:
        raise WrongError("digest is the file's, and there is none")
    if digest is None and file is not None and "://" in file:
        hint = "write digest: sha256:…, as its publisher says"
        raise WrongError("a file of the net is known by its digest alone", hint)
