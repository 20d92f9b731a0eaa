"""A node's identity, pushed over the agent: name, interfaces, addresses, routes, files, commands.

One script does it in one request, because a request that starts a program costs more than all that
the script does; it ends by printing what there is now, which :mod:`netlab.machine.verify` compares.
The guest needs a POSIX shell and iproute2. Every value is quoted: names come from files that
nobody has checked for a shell's sake.
"""

from __future__ import annotations

import base64
import posixpath
import re
import shlex
from collections.abc import Iterable, Sequence

from netlab.errors import GuestError
from netlab.machine.agent import Agent
from netlab.machine.verify import verify
from netlab.plan.model import FilePlan, HostPlan, InterfacePlan, NodePlan, RoutePlan

OUTPUT_LIMIT = 65536
"""Bytes of a start-up command's output that are kept for the message when it fails."""

# A busybox shell takes its own `ip`, which knows no JSON, before the one on the PATH.
_PREAMBLE = """\
PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin
failed=0
batch=
step() { "$@" || { failed=1; printf 'failed: %s\\n' "$*" >&2; }; }
find_ip() { IFS=:; for folder in $PATH; do
    [ ! -x "$folder/ip" ] || { printf '%s' "$folder/ip"; return; }; done; }
ip=$(find_ip)
queue() { batch="$batch$*
"; }
flush() {
    [ -n "$batch" ] || return 0
    step "$ip" -force -batch - <<END
$batch
END
    batch=
}
put() { [ ! -e "$1" ] || printf '%s\\n' "$2" >"$1" || failed=1; }
"""

# A name with a dot or a quote in it is nothing special to the shell that queues; but a batch knows
# comments and half of a shell's quotes.
_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+-]+")

_RENAME = """\
moved=
for folder in /sys/class/net/*; do
    [ -e "$folder/device" ] && read -r mac <"$folder/address" || continue
    index=
    case "$mac" in
%s    esac
    [ -n "$index" ] && [ "${folder##*/}" != "$wanted" ] || continue
    queue link set dev "${folder##*/}" down
    queue link set dev "${folder##*/}" name netlab-tmp"$index"
    moved="$moved $index"
done
flush
for index in $moved; do
    case "$index" in
%s    esac
done
"""

_SYSCTLS = """\
put /proc/sys/net/ipv4/ip_forward 1
put /proc/sys/net/ipv6/conf/all/forwarding 1
put /proc/sys/net/ipv6/conf/default/forwarding 1
for file in /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv6/conf/*/accept_dad; do
    put "$file" 0
done
"""

# One program start for both: under TCG it costs more than what it does.
_OBSERVE = """\
flush
read -r name </proc/sys/kernel/hostname
case $name in *[!A-Za-z0-9._-]*) name='?' ;; esac
read -r forward </proc/sys/net/ipv4/ip_forward
printf '{"hostname":"%s","ip_forward":"%s"}\\n' "$name" "$forward"
"$ip" -force -j -batch - <<END
address show
route show
END
"""

# Its output goes to a file, so that a daemon that it leaves behind holds no pipe open.
_RUN = (
    f"out=$(mktemp /tmp/netlab.XXXXXX) || exit 125\n"
    f'/bin/sh -c "$1" </dev/null >"$out" 2>&1\nstatus=$?\n'
    f'tail -c {OUTPUT_LIMIT} "$out"\nrm -f "$out"\nexit "$status"\n'
)


def script(node: NodePlan, hosts: Sequence[HostPlan], *, names: bool = True) -> str:
    """Return the shell script that gives a guest its identity and prints, as JSON, what it has.

    It goes on after a failure, so that all of them are told, and ends with status 1 then. Given
    again, it changes nothing.

    Args:
        node: Who the guest is to be.
        hosts: Everybody's names and addresses.
        names: Whether it writes its files of names, too: they may be there and its own.
    """
    return "".join((
        _PREAMBLE,
        f"put /proc/sys/kernel/hostname {shlex.quote(node.name)}\n",
        _write_file("/etc/hostname", [node.name]) if names else "",
        _write_file("/etc/hosts", host_lines(node, hosts)) if names else "",
        _SYSCTLS,
        _rename(node.interfaces),
        _ip(_interface_commands(node)),
        _ip(_route_command(route) for route in node.routes),
        _OBSERVE,
        # A family is an option and no part of a command: a batch cannot change it.
        '"$ip" -j -6 route show\n' if any(map(_is_ipv6, node.routes)) else "",
        'exit "$failed"\n',
    ))


async def apply_identity(agent: Agent, node: NodePlan, hosts: Sequence[HostPlan]) -> None:
    """Make a guest the node: identity, files, start-up commands; the deadline is the caller's.

    Args:
        agent: The guest's agent, ready.
        node: Who the guest is to be.
        hosts: Everybody's names and addresses.

    Raises:
        GuestError: Something did not come out as planned, and the message names all of it; or a
            start-up command failed.
        AgentError: The agent failed.
        MachineDiedError: QEMU ended meanwhile.
    """
    await _configure(agent, node, hosts)
    await _write_files(agent, node)
    for index, command in enumerate(node.run):
        result = await agent.execute(("/bin/sh", "-c", _RUN, "sh", command))
        if result.status != 0:
            output = (result.stdout + result.stderr).decode(errors="replace")
            raise GuestError(
                f"{node.name}: run[{index}] ({command}) exited with status {result.status}",
                evidence=output.strip() or None,
            )


async def _configure(agent: Agent, node: NodePlan, hosts: Sequence[HostPlan]) -> None:
    result = await agent.execute(("/bin/sh", "-s"), stdin=script(node, hosts).encode())
    complaints = result.stderr.decode(errors="replace").strip()
    differences = verify(node, result.stdout.decode(errors="replace"))
    if differences:
        raise GuestError(
            f"{node.name} did not take its identity: {'; '.join(differences)}",
            evidence=complaints or None,
        )
    if result.status != 0:
        raise GuestError(
            f"{node.name} did not take its identity: the script exited with status {result.status}",
            evidence=complaints or None,
        )


async def _write_files(agent: Agent, node: NodePlan) -> None:
    if not node.files:
        return
    # Made with their permissions while they are still empty: a secret is never readable by others.
    lines = [_PREAMBLE, "umask 022\n"]
    for file in node.files:
        path = shlex.quote(file.path)
        lines.append(f"step mkdir -p -- {shlex.quote(posixpath.dirname(file.path))}\n")
        lines.append(f": >{path} || failed=1\nstep chmod {file.mode:o} {path}\n")
    lines.append('exit "$failed"\n')
    result = await agent.execute(("/bin/sh", "-s"), stdin="".join(lines).encode())
    if result.status != 0:
        raise GuestError(
            f"{node.name}: a file could not be made",
            evidence=result.stderr.decode(errors="replace").strip() or None,
        )
    for file in node.files:
        await agent.write_file(file.path, read_content(file))


def read_content(file: FilePlan) -> bytes:
    """Return what is in a file of the plan."""
    return base64.b64decode(file.content) if file.encoding == "base64" else file.content.encode()


def host_lines(node: NodePlan, hosts: Sequence[HostPlan]) -> list[str]:
    """Return the lines of a node's ``/etc/hosts``."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{address} {host.name}" for host in hosts for address in host.addresses]
    if not any(host.name == node.name and host.addresses for host in hosts):
        lines.append(f"127.0.1.1 {node.name}")
    return lines


def _write_file(path: str, lines: Iterable[str]) -> str:
    words = " ".join(shlex.quote(line) for line in lines)
    return f"printf '%s\\n' {words} >{path} || failed=1\n"


def _rename(interfaces: Sequence[InterfacePlan]) -> str:
    """Rename by MAC, over temporary names: eth0 and eth1 may have to change places.

    Only interfaces with a device behind them count: a bond or a bridge has its member's MAC.
    """
    if not interfaces:
        return ""
    found = [
        f"    {shlex.quote(interface.mac)}) index={index} wanted={shlex.quote(interface.name)} ;;\n"
        for index, interface in enumerate(interfaces)
    ]
    moves = [
        f"    {index}) {_ip([_rename_command(index, interface.name)])};;\n"
        for index, interface in enumerate(interfaces)
    ]
    return _RENAME % ("".join(found), "".join(moves))


def _rename_command(index: int, name: str) -> tuple[str, ...]:
    return ("link", "set", "dev", f"netlab-tmp{index}", "name", name)


def _interface_commands(node: NodePlan) -> Iterable[tuple[str, ...]]:
    yield ("link", "set", "dev", "lo", "up")
    for address in node.loopback:
        yield _address_command(address, "lo")
    for interface in node.interfaces:
        yield ("link", "set", "dev", interface.name, "mtu", str(interface.mtu))
        for address in interface.addresses:
            yield _address_command(address, interface.name)
        yield ("link", "set", "dev", interface.name, "up")


def _address_command(address: str, interface: str) -> tuple[str, ...]:
    command = ("address", "replace", address, "dev", interface)
    # Nobody else has a planned address: the second that its check takes is a second of nothing.
    return (*command, "nodad") if ":" in address else command


def _route_command(route: RoutePlan) -> tuple[str, ...]:
    via = ("via", route.via) if route.via else ()
    device = ("dev", route.interface) if route.interface else ()
    return ("route", "replace", route.to, *via, *device)


def _is_ipv6(route: RoutePlan) -> bool:
    return ":" in (route.via or route.to)


def _ip(commands: Iterable[tuple[str, ...]]) -> str:
    """Queue commands for the next batch; what a batch cannot quote is run by itself."""
    parts: list[str] = []
    for command in commands:
        if all(_PLAIN.fullmatch(word) for word in command):
            parts.append(f"queue {' '.join(command)}\n")
        else:
            parts.append(f'flush; step "$ip" {shlex.join(command)}\n')
    return "".join(parts)
