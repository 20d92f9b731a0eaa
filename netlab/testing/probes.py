"""What a guest's own tables say: sockets that listen, units of systemd. Text in, facts out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

SOCKETS = "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null"
"""Prints every TCP socket of the guest (proc(5)); needs no tool that a guest may lack."""

UNIX_SOCKETS = "cat /proc/net/unix"

_LISTEN = 0x0A
_ACCEPTS = 0x00010000
_STREAM, _DATAGRAM = 1, 2


def listens(sockets: str, port: int, address: str) -> bool:
    """Say whether somebody listens on a TCP port where a connection to the address ends.

    Args:
        sockets: What :data:`SOCKETS` printed.
        port: The port.
        address: An address of the guest's own, or ``localhost``.
    """
    wanted = _own_addresses(address)
    for host, number, state in _read_sockets(sockets):
        if state == _LISTEN and number == port and (host.is_unspecified or host in wanted):
            return True
    return False


def has_unix_socket(sockets: str, path: str, *, datagram: bool) -> bool:
    """Say whether there is a Unix socket with that path that takes connections or datagrams.

    Args:
        sockets: What :data:`UNIX_SOCKETS` printed.
        path: Its path.
        datagram: Whether it is one for datagrams.
    """
    for line in sockets.splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) < 8 or fields[7] != path:
            continue
        flags, kind = int(fields[3], 16), int(fields[4], 16)
        if kind == _DATAGRAM if datagram else (kind == _STREAM and flags & _ACCEPTS):
            return True
    return False


def read_properties(text: str) -> dict[str, str]:
    """Return the properties that ``systemctl show`` printed."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def _own_addresses(address: str) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    if address == "localhost":
        return {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
    return {ipaddress.ip_address(address)}


def _read_sockets(
    text: str,
) -> Iterator[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int, int]]:
    for line in text.splitlines():
        fields = line.split()
        # Everything but the two headings: "sl local_address rem_address st ..."
        if len(fields) < 4 or ":" not in fields[1]:
            continue
        host, _, port = fields[1].partition(":")
        yield _read_address(host), int(port, 16), int(fields[3], 16)


def _read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read an address as the kernel prints it: 32-bit words in the guest's byte order."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    return ipaddress.ip_address(b"".join(words))


SCREEN = r"""
read -r tty </sys/class/tty/tty0/active || exit 3
# A program that draws takes the keyboard away from the console; not every guest can say so.
case $(LC_ALL=C kbd_mode -C "/dev/$tty" 2>/dev/null) in
    *ASCII* | *UTF-8* | "") ;;
    *) exit 4 ;;
esac
number=${tty#tty}
head -c 4 "/dev/vcsa$number" && { cat "/dev/vcsu$number" 2>/dev/null || cat "/dev/vcs$number"; }
"""
"""Prints the active text console: four bytes of size and cursor, then its characters, in UTF-32 if
the kernel keeps them so, else as places in the font. Source: vcs(4)."""


def read_screen(data: bytes) -> str:
    """Return the lines of a text console.

    Args:
        data: What :data:`SCREEN` printed.
    """
    lines, columns = data[0], data[1]
    content = data[4:]
    wide = len(content) == lines * columns * 4
    text = content.decode("utf-32-le" if wide else "cp437", errors="replace")
    shown = "".join(one if one.isprintable() else " " for one in text)
    rows = [shown[start : start + columns].rstrip() for start in range(0, len(shown), columns)]
    return "\n".join(rows).rstrip("\n")
