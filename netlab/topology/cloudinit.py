"""The part of the language that says what cloud-init finds in a node's seed."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from netlab.topology.contents import Content
from netlab.topology.forms import Entries, Schema, Several, also_nothing
from netlab.topology.links import Model
from netlab.topology.scalars import VARIABLE, Flag, GuestPath, Name, Text
from netlab.topology.source import WrongError, quote

# useradd(8), and what every distribution takes.
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_KEY = re.compile(r"[!-~]+ [!-~]+( [^\r\n\0]*)?")
_HASH = re.compile(r"\$[!-9;-~]+")


def _user(name: str) -> str:
    if not _USER.fullmatch(name):
        hint = "1 to 32 lower-case letters, digits, '_' and '-', a letter or '_' first"
        raise WrongError(f"{quote(name)} cannot be the name of a user or a group", hint)
    return name


def _key(text: str) -> str:
    if not _KEY.fullmatch(text.strip()):
        hint = "a line of authorized_keys: ssh-ed25519 AAAA… comment"
        raise WrongError(f"{quote(text)} is not a public SSH key", hint)
    return text.strip()


def _hash(text: str) -> str:
    if not _HASH.fullmatch(text):
        raise WrongError("this is not the hash of a password", "`openssl passwd -6` makes one")
    return text


UserName = Annotated[Name, AfterValidator(_user)]
SshKey = Annotated[Text, AfterValidator(_key)]
PasswordHash = Annotated[Text, AfterValidator(_hash)]


class User(Model):
    """A user that cloud-init makes."""

    model_config = ConfigDict(json_schema_extra=also_nothing)

    ssh_authorized_keys: Annotated[tuple[SshKey, ...], Several()] = Field(
        default=(), description="Public keys that log in as this user."
    )
    groups: Annotated[tuple[UserName, ...], Several()] = Field(
        default=(), description="The groups that the user is in beside an own one."
    )
    sudo: Flag = Field(
        default=False, description="Whether the user may do all as root, without a password."
    )
    shell: GuestPath = Field(default="/bin/sh", description="The login shell; /bin/sh by default.")
    hashed_passwd: PasswordHash | None = Field(
        default=None, description="The hash of the password (crypt); none by default."
    )

    @model_validator(mode="before")
    @staticmethod
    def _read_nothing(value: object) -> object:
        return {} if value is None else value


def _also_flag(schema: Schema) -> None:
    long = dict(schema)
    schema.clear()
    schema["description"] = long["description"]
    schema["anyOf"] = [{"type": "boolean"}, VARIABLE, long]


class CloudInit(Model):
    """A seed for cloud-init (NoCloud): true, or what is in it beside what follows from the node."""

    model_config = ConfigDict(json_schema_extra=_also_flag)

    enabled: Flag = Field(default=True, description="Whether there is one.")
    users: Annotated[dict[UserName, User], Entries()] = Field(
        default={}, description="Users by name, beside the system's default user."
    )
    ssh_authorized_keys: Annotated[tuple[SshKey, ...], Several()] = Field(
        default=(), description="Public keys that log in as the system's default user."
    )
    user_data: Content | None = Field(
        default=None,
        description="More user-data, a cloud-config or a script for example: text, or {from}.",
    )
    network_config: Content | None = Field(
        default=None,
        description="A network-config in place of the one that follows from the interfaces.",
    )

    @model_validator(mode="before")
    @staticmethod
    def _read_short_form(value: object) -> object:
        return {"enabled": value} if isinstance(value, bool | str) else value
