"""The part of the language that says which folders of the host a guest sees."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from netlab.topology.forms import also_text
from netlab.topology.links import Model
from netlab.topology.scalars import Flag, GuestPath, Name, choice
from netlab.topology.source import WrongError, quote

# 31 characters are what a 9p device takes (MAX_TAG_LEN of QEMU's hw/9pfs), virtiofs takes 36; the
# guest's table of mounts shows these as they are.
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}")


def _folder(path: str) -> str:
    if not path or "\0" in path or len(path.encode()) > 4095:
        raise WrongError(f"{quote(path)} cannot be the path of a folder")
    return path.rstrip("/") or "/"


def _tag(text: str) -> str:
    if not _TAG.fullmatch(text):
        hint = "1 to 31 letters, digits, '_', '-' and '.', none of the last three first"
        raise WrongError(f"{quote(text)} cannot be the tag of a share", hint)
    return text


class Share(Model):
    """A folder of the host's that the guest sees at a path of its own."""

    model_config = ConfigDict(json_schema_extra=also_text("FOLDER:TARGET, such as ./www:/srv/www."))

    source: Annotated[Name, AfterValidator(_folder)] = Field(
        description="A folder of the host, relative to the topology."
    )
    target: GuestPath = Field(description="The path in the guest at which it is mounted.")
    writable: Flag = Field(
        default=False,
        description="Whether the guest may write to it: false by default, whoever asks in it.",
    )
    shadow: Flag = Field(
        default=False,
        description=(
            "Whether it hides what a system on a disk of its own has at that path; without, such a "
            "share is off."
        ),
    )
    driver: Annotated[str, *choice("auto", "virtiofs", "9p")] = Field(
        default="auto",
        description=(
            "How it gets there: auto (virtiofs where virtiofsd is installed, else 9p if the image "
            "has it), virtiofs or 9p."
        ),
    )
    tag: Annotated[Name, AfterValidator(_tag)] | None = Field(
        default=None,
        description="By what the guest finds it: share0, share1 … when left out.",
    )

    @model_validator(mode="before")
    @staticmethod
    def _read_short_form(value: object) -> object:
        if not isinstance(value, str):
            return value
        source, _, target = value.rpartition(":")
        if source and target in {"ro", "rw"}:
            hint = "write {source: …, target: …, writable: true}; without, it is read-only"
            raise WrongError(f"{quote(value)} ends in {quote(target)}", hint)
        if not source:
            raise WrongError(f"{quote(value)} is not a share", "write FOLDER:TARGET")
        return {"source": source, "target": target}
