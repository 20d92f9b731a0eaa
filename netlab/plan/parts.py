"""What a node is planned to have beside its disks and interfaces: values, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ShareDriver = Literal["virtiofs", "9p"]
Provider = Literal["share", "image"]

_PREFIX = "io.systemd.credential.binary:"


@dataclass(frozen=True, slots=True, kw_only=True)
class SmbiosPlan:
    """What SMBIOS says of a machine; None is left to QEMU.

    Attributes:
        oem_strings: Strings of table 11.
    """

    manufacturer: str | None = None
    product: str | None = None
    version: str | None = None
    serial: str | None = None
    sku: str | None = None
    family: str | None = None
    oem_strings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialPlan:
    """A credential for systemd in the guest.

    Attributes:
        name: Its name.
        content: What is in it, in base64.
    """

    name: str
    content: str

    @property
    def string(self) -> str:
        """The string of SMBIOS's table 11 that hands it over (systemd.system-credentials(7))."""
        return f"{_PREFIX}{self.name}={self.content}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesPlan:
    """What a machine has beside processors in number, memory, disks and network cards.

    Attributes:
        cpu: QEMU's model with features, or None: the host's under KVM, all of QEMU's under TCG.
        rng: Whether it has a source of random numbers.
        vmgenid: Its VM generation id, or None.
        smbios: What its firmware says of it.
        credentials: For systemd in the guest, by name.
        tpm: Whether it has a TPM 2.0.
        qemu_args: Arguments for QEMU behind all others, which netlab does not know.
    """

    cpu: str | None = None
    rng: bool = True
    vmgenid: str | None = None
    smbios: SmbiosPlan = SmbiosPlan()
    credentials: tuple[CredentialPlan, ...] = ()
    tpm: bool = False
    qemu_args: tuple[str, ...] = ()


PLAIN = DevicesPlan()
"""What a machine has of which nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPlan:
    """A user that cloud-init makes.

    Attributes:
        name: The login name.
        ssh_authorized_keys: Lines of ``authorized_keys``.
        groups: Beside the user's own one.
        sudo: Whether the user may do all as root.
        shell: The login shell.
        hashed_passwd: crypt(5), or None: no password logs in.
    """

    name: str
    ssh_authorized_keys: tuple[str, ...]
    groups: tuple[str, ...]
    sudo: bool
    shell: str
    hashed_passwd: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudInitPlan:
    """A seed for cloud-init.

    Attributes:
        enabled: Whether there is one.
        users: Beside the system's default user.
        ssh_authorized_keys: Those of the default user.
        user_data: More user-data, or None.
        network_config: Instead of the one that follows from the interfaces, or None.
    """

    enabled: bool = False
    users: tuple[UserPlan, ...] = ()
    ssh_authorized_keys: tuple[str, ...] = ()
    user_data: str | None = None
    network_config: str | None = None


NO_SEED = CloudInitPlan()


@dataclass(frozen=True, slots=True, kw_only=True)
class SharePlan:
    """A folder of the host's for a guest.

    Attributes:
        tag: By what the guest finds it; another for each of a node's.
        source: The folder.
        target: Where the guest has it.
        writable: Whether the guest may write to it.
        drivers: How it can get there; the first that the host has is taken.
        provided_by: What the guest finds at the target: the ``share``, or what its ``image`` has
            there. Then the share is off: the machine has no device for it.
    """

    tag: str
    source: str
    target: str
    writable: bool
    drivers: tuple[ShareDriver, ...]
    provided_by: Provider = "share"

    @property
    def on(self) -> bool:
        """Whether the machine has it."""
        return self.provided_by == "share"

    @property
    def access(self) -> Literal["read-only", "writable", "off"]:
        """What the guest may do with the folder."""
        if not self.on:
            return "off"
        return "writable" if self.writable else "read-only"
