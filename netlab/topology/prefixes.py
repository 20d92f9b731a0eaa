"""Which prefixes hosts can have addresses of: blocks with a meaning of their own are no such."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from netlab.topology.source import WrongError

Network = IPv4Network | IPv6Network

_BLOCKS = {
    "0.0.0.0/8": "unspecified",
    "127.0.0.0/8": "loopback",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
    "::/128": "unspecified",
    "::1/128": "loopback",
    "::/8": "reserved",
    "100::/8": "reserved",
    "200::/7": "reserved",
    "400::/6": "reserved",
    "800::/5": "reserved",
    "1000::/4": "reserved",
    "4000::/2": "reserved",
    "8000::/2": "reserved",
    "c000::/3": "reserved",
    "e000::/4": "reserved",
    "f000::/5": "reserved",
    "f800::/6": "reserved",
    "fe00::/9": "reserved",
    "ff00::/8": "multicast",
}
"""Sources: IANA's special-purpose addresses (RFC 6890), and its IPv6 address space."""

_LINK_LOCAL = {"169.254.0.0/16": "link-local", "fe80::/10": "link-local"}

_NO_HOSTS = {ip_network(block): kind for block, kind in _BLOCKS.items()}
_NO_POOL = _NO_HOSTS | {ip_network(block): kind for block, kind in _LINK_LOCAL.items()}


def check_subnet(prefix: Network) -> Network:
    """Return a prefix that hosts can have addresses of; on one link these may be link-local.

    Raises:
        WrongError: It has addresses that are no host's.
    """
    return _check(prefix, _NO_HOSTS)


def check_pool(prefix: Network) -> Network:
    """Return a prefix that addresses of several links can be drawn from.

    Raises:
        WrongError: It has addresses that are no host's, or that are on every link.
    """
    return _check(prefix, _NO_POOL)


def _check(prefix: Network, blocks: dict[Network, str]) -> Network:
    for block, kind in blocks.items():
        if block.version == prefix.version and prefix.overlaps(block):
            inside = prefix.prefixlen >= block.prefixlen
            what = f"is {kind}" if inside else f"has {block} in it, which is {kind}"
            example = "10.0.0.0/8" if prefix.version == 4 else "2001:db8::/32"
            raise WrongError(f"{prefix} {what}", f"hosts are in prefixes such as {example}")
    return prefix
