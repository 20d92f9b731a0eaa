"""Names of backups, as Proxmox tells them apart (PVE/Storage.pm, archive_info).

What a backup is follows from its name alone: whose it is, when it was made (in the local time of
the server), and how it is compressed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast, get_args

from netlab.proxmox.formats import VMID

Compression = Literal["", "zst", "gz", "lzo", "bz2"]

_STANDARD = re.compile(
    r"vzdump-qemu-([1-9][0-9]{2,8})-([0-9]{4})_([0-9]{2})_([0-9]{2})"
    r"-([0-9]{2})_([0-9]{2})_([0-9]{2})\.vma(?:\.([a-z0-9]+))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupName:
    """A backup's name in parts.

    Attributes:
        vmid: The machine's number. A backup counts among those of the machine that has it, and that
            machine's retention may remove it.
        time: When it was made, in the server's local time, to the second.
        compression: The suffix behind ``.vma``.
    """

    vmid: int
    time: datetime
    compression: Compression = "zst"

    @property
    def archive(self) -> str:
        """The name of the archive itself."""
        suffix = f".{self.compression}" if self.compression else ""
        return f"{self._stem}.vma{suffix}"

    @property
    def notes(self) -> str:
        """The name of the text beside it that people read in the list of backups."""
        return f"{self.archive}.notes"

    @property
    def log(self) -> str:
        """The name of the log of its making."""
        return f"{self._stem}.log"

    @property
    def _stem(self) -> str:
        if VMID.mistakes(str(self.vmid)):
            raise ValueError(f"{self.vmid} is no number of a machine: {VMID.allowed}")
        time = self.time
        # Not strftime: it writes the year 999 with three digits.
        date = f"{time.year:04}_{time.month:02}_{time.day:02}"
        return f"vzdump-qemu-{self.vmid}-{date}-{time.hour:02}_{time.minute:02}_{time.second:02}"


def parse_name(name: str) -> BackupName | None:
    """Return the parts of a backup's name, or None if it is not a standard one.

    Args:
        name: The file's name, without folder.
    """
    found = _STANDARD.fullmatch(name)
    if found is None or (found[8] or "") not in get_args(Compression):
        return None
    vmid, year, month, day, hour, minute, second = map(int, found.groups()[:7])
    try:
        time = datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
    return BackupName(vmid=vmid, time=time, compression=cast("Compression", found[8] or ""))
