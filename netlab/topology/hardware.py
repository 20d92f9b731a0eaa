"""The part of the language that says what a machine is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from netlab.topology.forms import also_one_of
from netlab.topology.links import Model
from netlab.topology.scalars import HostPath, choice
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

    @model_validator(mode="before")
    @staticmethod
    def _read_short_form(value: object) -> object:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_files(self) -> Firmware:
        if self.kind == "bios" and (self.code or self.vars):
            raise WrongError("code and vars are UEFI's: the BIOS is QEMU's own")
        if self.code and not self.vars:
            raise WrongError("code needs the vars of the same build", "give both, or vars alone")
        return self
