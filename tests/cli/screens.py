"""What a terminal was shown."""

from __future__ import annotations

import os
from contextlib import suppress


def read_screen(reader: int) -> str:
    """Read what was written to a terminal whose other end is closed, or will be; close this one."""
    shown = b""
    # A terminal of which nobody has the other end fails (EIO); a read returns what is there yet.
    with os.fdopen(reader, "rb", buffering=0) as screen, suppress(OSError):
        while chunk := screen.read(4096):
            shown += chunk
    return shown.decode(errors="replace")
