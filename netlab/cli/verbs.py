"""The table of verbs: names, one line each, and the module that is imported on demand."""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """A verb; a tuple and not a dataclass because every start of netlab pays for it.

    Attributes:
        name: What the user types.
        module: The module in ``netlab.cli`` whose ``app`` it is.
        summary: One line for the list of verbs and for completion.
        section: The heading it is listed under.
    """

    name: str
    module: str
    summary: str
    section: str


_LABS = "Labs"
_TOPOLOGIES = "Topologies (nothing is started)"
_PROXMOX = "Proxmox"
_HOST = "This host"

VERBS = tuple(
    Verb(*fields)
    for fields in (
        ("up", "up", "Start a lab and return when every node is ready", _LABS),
        ("down", "down", "Take a lab down; nothing remains but disks that are to", _LABS),
        ("status", "status", "Show the nodes of a lab, or all labs", _LABS),
        ("exec", "exec", "Run a command in a node", _LABS),
        ("console", "console", "Be a node's serial console", _LABS),
        ("shell", "shell", "Speak with a lab in Python, its nodes as names", _LABS),
        ("cp", "cp", "Copy files into nodes, out of them, and between them", _LABS),
        ("ssh-config", "sshconfig", "Print a configuration of ssh for the nodes of a lab", _LABS),
        ("link", "link", "Pull the cable between two nodes, or put it back", _LABS),
        ("logs", "logs", "Print a node's console log, or the lab's own", _LABS),
        ("events", "events", "Print what happened in a lab, as it happens", _LABS),
        ("test", "test", "Start a lab, look at its checks, run its tests, take it down", _LABS),
        ("validate", "validate", "Check topology files and report every mistake", _TOPOLOGIES),
        ("plan", "plan", "Show everything a lab would be, without starting it", _TOPOLOGIES),
        ("graph", "graph", "Draw a topology: mermaid, dot or SVG", _TOPOLOGIES),
        ("schema", "schema", "Write the JSON schema of topologies, for editors", _TOPOLOGIES),
        (
            "export",
            "export",
            "Write nodes as backups that Proxmox restores, or push them there",
            _PROXMOX,
        ),
        ("import", "imports", "Make a topology of backups, isolated from all networks", _PROXMOX),
        ("vma", "vma", "Make, read and check backup archives of Proxmox", _PROXMOX),
        ("doctor", "doctor", "Check this host, and say how to repair what is missing", _HOST),
        ("image", "image", "Build, list, show and remove images, own ones too", _HOST),
        ("disk", "disk", "List and remove the disks that stay when labs go", _HOST),
        ("completion", "completion", "Write the completion script of a shell", _HOST),
        ("version", "version", "Show the version of netlab and of what it stands on", _HOST),
        ("help", "help", "Explain a verb or a topic", _HOST),
    )
)

ALIASES = {"deploy": "up", "destroy": "down"}
"""Hidden: what people who come from containerlab type."""


def find_verb(name: str) -> Verb | None:
    """Return the verb of that name or alias, or None."""
    wanted = ALIASES.get(name, name)
    return next((verb for verb in VERBS if verb.name == wanted), None)


def render_help(program: str) -> str:
    """Return the page that `netlab --help` shows."""
    width = max(len(verb.name) for verb in VERBS)
    lines = [
        f"Usage: {program} VERB [OPTIONS] [ARGUMENTS]",
        "",
        "Real virtual machines on real kernel links, described in one YAML file.",
        "",
        "Examples:",
        f"  {program} up ring.yaml             start the lab that the file describes",
        f"  {program} exec r1 -- ip -br addr   run a command in one of its nodes",
        f"  {program} down                     take it down again",
    ]
    for section in dict.fromkeys(verb.section for verb in VERBS):
        lines += ["", f"{section}:"]
        lines += [
            f"  {verb.name:<{width}}  {verb.summary}" for verb in VERBS if verb.section == section
        ]
    lines += [
        "",
        "Options:",
        f"  {'-h, --help':<{width}}  Show this page; `{program} VERB --help` shows a verb's",
        f"  {'--version':<{width}}  Show the version",
        "",
        "Exit codes: 0 done, 1 a check failed, 2 the input is wrong, 3 the host lacks",
        "something, 4 a machine or netlab itself failed, 130 interrupted.",
    ]
    return "\n".join(lines)
