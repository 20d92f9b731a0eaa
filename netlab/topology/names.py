"""What may be the name of a lab, a node, an interface or a file.

Names are host names, kernel names and parts of both; what is refused here would be refused, cut or
misread later, in a place where nobody can say which line of the file it came from.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection
from urllib.parse import urlsplit

from netlab.topology.source import WrongError, quote

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.IGNORECASE)
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f\"<>\\^`{|}]")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
# inet_aton reads these as IPv4 addresses, so a host of that name could not be reached by name.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_IMAGES = frozenset(("micro", "debian", "loader", "none"))
_RESERVED = frozenset((".", "..", "all", "default", "lo"))


def check_lab_name(name: str) -> str:
    """Return the name of a lab.

    Raises:
        WrongError: It is not a DNS label of at most 32 lower-case letters, digits and hyphens.
    """
    return _label(name, "a lab's name", 32)


def check_image_name(name: str) -> str:
    """Return the name of an image with a recipe of its own.

    Raises:
        WrongError: It is not a DNS label of at most 32 letters, or the name of another image.
    """
    _label(name, "an image's name", 32)
    if name in _IMAGES:
        raise WrongError(f"{quote(name)} cannot be an image's name", "it means another one")
    return name


def check_node_name(name: str) -> str:
    """Return the name of a node, which is its host name.

    Raises:
        WrongError: It is not a DNS label, or a resolver would not take it for a name.
    """
    _label(name, "a node's name", 63)
    if name == "localhost" or _NUMBER.fullmatch(name):
        meaning = "the node itself" if name == "localhost" else "an address"
        raise WrongError(
            f"{quote(name)} cannot be a node's name", f"resolvers take it for {meaning}"
        )
    return name


def check_interface_name(name: str) -> str:
    """Return the name of an interface inside a guest.

    The rules are the kernel's (``dev_valid_name`` in net/core/dev.c, names that sysctl has taken)
    and three of ours: ``%`` and a leading ``-`` mean something to programs, and ``--`` separates
    the ends of a link in the names of segments.

    Raises:
        WrongError: It cannot be one.
    """
    if not 1 <= len(name.encode()) <= 15:
        raise WrongError(
            f"{quote(name)} is {len(name.encode())} bytes long", "1 to 15 are possible"
        )
    if name in _RESERVED:
        raise WrongError(f"{quote(name)} cannot be an interface's name", "it is taken")
    for letter in name:
        if letter in "/:%" or letter.isspace() or not letter.isprintable():
            raise WrongError(f"{quote(name)}: an interface's name cannot contain {quote(letter)}")
    if name.startswith("-") or "--" in name:
        raise WrongError(
            f'{quote(name)}: an interface\'s name cannot start with "-" or contain "--"'
        )
    return name


def check_guest_path(path: str) -> str:
    """Return the absolute path of a file in a guest.

    Raises:
        WrongError: It is not absolute, or not in its simplest form.
    """
    if not path.startswith("/"):
        raise WrongError(f"{quote(path)} is not an absolute path")
    if "\0" in path or len(path.encode()) > 4095:
        raise WrongError(f"{quote(path)} cannot be a path")
    simple = "/" + posixpath.normpath(path).lstrip("/")
    if path != simple or path == "/":
        raise WrongError(
            f"{quote(path)} is not the path of a file in its simplest form",
            f"write {simple}" if simple != "/" else "",
        )
    return path


def check_host_path(path: str) -> str:
    """Return the path of a file on the host, absolute or relative to the topology.

    Raises:
        WrongError: No file can have it.
    """
    if not path or "\0" in path or path.endswith("/") or len(path.encode()) > 4095:
        raise WrongError(f"{quote(path)} cannot be the path of a file")
    return path


def find_within(paths: Collection[str]) -> dict[str, str]:
    """Return of all paths those that others are inside of, each with the first of these.

    Args:
        paths: Absolute, in their simplest form.
    """
    found: dict[str, str] = {}
    for path in paths:
        above = path
        # Upwards from each path: to compare every two takes minutes where there are thousands.
        while above := above.rpartition("/")[0]:
            if above in paths:
                found.setdefault(above, path)
    return found


def check_source(source: str) -> str:
    """Return where a disk comes from: a path on the host, or an address of http or https.

    Raises:
        WrongError: No file can have the path, or nothing can be fetched from the address.
    """
    scheme, there, _ = source.partition("://")
    if not there or not _SCHEME.fullmatch(scheme):
        return check_host_path(source)
    if scheme not in {"http", "https"}:
        raise WrongError(f"{quote(source)} cannot be fetched", "http and https can be, and paths")
    try:
        parts = urlsplit(source)
        valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, valid = None, False
    if not valid or parts is None or not source.isascii() or _NOT_IN_URL.search(source):
        raise WrongError(f"{quote(source)} is not an address")
    if "@" in parts.netloc:
        raise WrongError("an address with a password in it", "the digest is proof enough")
    return source


def check_digest(text: str) -> str:
    """Return a digest, such as ``sha256:`` and 64 hexadecimal digits, in lower case.

    Raises:
        WrongError: It is none.
    """
    algorithm, _, digits = text.lower().partition(":")
    length = {"sha256": 64, "sha512": 128}.get(algorithm)
    if length is None or not re.fullmatch(f"[0-9a-f]{{{length}}}", digits):
        hint = "write sha256: and 64 digits, or sha512: and 128"
        raise WrongError(f"{quote(text)} is not a digest", hint)
    return f"{algorithm}:{digits}"


def _label(name: str, what: str, longest: int) -> str:
    if not name:
        raise WrongError(f"{what} cannot be empty")
    if len(name) > longest:
        raise WrongError(
            f"{quote(name)} is {len(name)} letters long", f"at most {longest} are possible"
        )
    if not _LABEL.fullmatch(name):
        raise WrongError(
            f"{quote(name)} cannot be {what}",
            "use lower-case letters, digits and, inside, hyphens",
        )
    return name
