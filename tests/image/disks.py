"""What the disk of a system has, without starting it."""

import subprocess
from collections.abc import Callable
from pathlib import Path


def read_disk(disk: Path, where: Path) -> Callable[[str], str]:
    """Return what runs a command of debugfs on a disk's root file system."""
    raw = where / "disk.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", disk, raw], check=True)
    table = subprocess.run(
        ["/sbin/sfdisk", "--dump", raw], capture_output=True, text=True, check=True
    ).stdout
    start = next(line for line in table.splitlines() if 'name="root"' in line).split("start=")[1]
    device = f"{raw}?offset={int(start.split(',')[0]) * 512}"

    def run(command: str) -> str:
        words = ["/sbin/debugfs", "-R", command, device]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    return run
