"""The part of the language that joins nodes: ``links``."""

from __future__ import annotations

import re
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from netlab.topology.forms import Several, also_text
from netlab.topology.scalars import (
    InterfaceAddress,
    InterfaceName,
    Mac,
    Mtu,
    NodePattern,
    SubnetPrefix,
    choice,
)
from netlab.topology.source import WrongError, quote

GENERATORS = ("ring", "line", "star", "mesh")
"""The keys that make links by a rule."""

# From the beginning of the white space only: else a long run of it is gone through from each place.
_SEPARATOR = re.compile(r"(?<!\s)\s+--\s+")


class Model(BaseModel):
    """A mapping of the language: unknown keys are mistakes, values do not change."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, arbitrary_types_allowed=True
    )

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nothing(cls, value: object) -> object:
        """Take a key with nothing behind it as left out, where it has a default that says more."""
        entries = cast("dict[str, object]", value) if isinstance(value, dict) else {}
        if None not in entries.values():
            return cast("object", value)
        usual = {
            key
            for name, field in cls.model_fields.items()
            if not field.is_required() and field.default is not None
            for key in (name, field.alias)
        }
        return {key: each for key, each in entries.items() if each is not None or key not in usual}


class Endpoint(Model):
    """An end of a link: a node's interface."""

    model_config = ConfigDict(json_schema_extra=also_text("NODE or NODE:INTERFACE"))

    node: NodePattern = Field(description="The node; a range stands for several ends.")
    interface: InterfaceName | None = Field(
        default=None, description="The interface's name; eth1, eth2 … by rule when left out."
    )
    addresses: Annotated[tuple[InterfaceAddress, ...], Several(none=True)] | None = Field(
        default=None,
        description="Static addresses with prefix length in place of automatic ones, or none.",
    )
    mtu: Mtu | None = Field(default=None, description="The MTU of this end in bytes.")
    mac: Mac | None = Field(default=None, description="The MAC address; by rule when left out.")

    @model_validator(mode="before")
    @staticmethod
    def _read_short_form(value: object) -> object:
        if not isinstance(value, str):
            return value
        node, colon, interface = value.strip().partition(":")
        return {"node": node, "interface": interface} if colon else {"node": node}


class Link(Model):
    """A link of two ends, a segment of several, or a rule that makes links."""

    model_config = ConfigDict(json_schema_extra=also_text("NODE:INTERFACE -- NODE:INTERFACE"))

    endpoints: Annotated[tuple[Endpoint, ...], Several()] | None = Field(
        default=None, description="Its ends: two, or more on one segment that needs a subnet."
    )
    ring: Annotated[tuple[NodePattern, ...], Several()] | None = Field(
        default=None,
        description="Links each of these nodes to the next, and the last to the first.",
    )
    line: Annotated[tuple[NodePattern, ...], Several()] | None = Field(
        default=None, description="Links each of these nodes to the next."
    )
    star: Annotated[tuple[NodePattern, ...], Several()] | None = Field(
        default=None, description="Links the first of these nodes to each of the others."
    )
    mesh: Annotated[tuple[NodePattern, ...], Several()] | None = Field(
        default=None, description="Links each of these nodes to each other one."
    )
    mtu: Mtu | None = Field(default=None, description="Its MTU in bytes.")
    subnet: Annotated[tuple[SubnetPrefix, ...], Several()] | None = Field(
        default=None,
        description="The prefixes that its ends get addresses from, at most one of each family.",
    )
    addresses: Annotated[str, *choice("auto", "none")] = Field(
        default="auto", description="auto, or none: its ends get no automatic addresses."
    )

    @model_validator(mode="before")
    @staticmethod
    def _read_short_form(value: object) -> object:
        if not isinstance(value, str):
            return value
        ends = _SEPARATOR.split(value.strip())
        if len(ends) == 1:
            ends = value.split("--")
        if len(ends) != 2:
            raise WrongError(
                f"{quote(value)} is not a link of two ends",
                "write a:x -- b:y, or {endpoints: [a:x, b:y, c:z]} for more",
            )
        return {"endpoints": ends}

    @model_validator(mode="after")
    def _check_kind(self) -> Link:
        kinds = [kind for kind in ("endpoints", *GENERATORS) if getattr(self, kind) is not None]
        if len(kinds) != 1:
            written = " and ".join(kinds) or "none of them"
            raise WrongError(f"a link has one of endpoints, {', '.join(GENERATORS)}, not {written}")
        if self.subnet is not None:
            self._check_subnet()
        return self

    def _check_subnet(self) -> None:
        subnets = self.subnet or ()
        if self.endpoints is None:
            raise WrongError(
                "subnet goes with endpoints only", "set addressing.p2p for a rule's links"
            )
        if len({subnet.version for subnet in subnets}) < len(subnets):
            raise WrongError("a link has at most one IPv4 and one IPv6 subnet")
        if self.addresses == "none":
            raise WrongError("a link with a subnet has addresses", "leave out one of the two")

    @property
    def generator(self) -> tuple[str, tuple[str, ...]] | None:
        """The rule's name and the patterns of its nodes; None for a link of its own."""
        for kind in GENERATORS:
            patterns = cast("tuple[str, ...] | None", getattr(self, kind))
            if patterns is not None:
                return kind, patterns
        return None
