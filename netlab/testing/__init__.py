"""The vocabulary of scripted network tests.

waiting.py      deadlines, and waiting that says what it saw last
commands.py     a command in a guest, with output as it comes
verbs.py        a node's verbs: commands, and waiting for what they say,
services.py     what runs in it,
screen.py       what its machine shows, and what is typed into it,
node.py         and its power, cables and files
interface.py    an interface, as guest and host see it
lab.py          a lab's verbs: links, reachability, paths, captures
backups.py      nodes as backups for Proxmox
failures.py     failures on their way out of a block
conditions.py   what has to stay true; parts of a test
tracebacks.py   what of an error is shown
transfer.py     files and trees
probes.py       what a guest's own tables say
keyboard.py     the keys of a keyboard, and what types a text
picture.py      a picture of a screen as tesseract reads it
checks.py       the checks of a topology,
pings.py        what their pings came to,
results.py      and how they went, as values
script.py       scripts for the NixOS test driver, run on a lab
facade/         and the synchronous verbs that they find
"""

from __future__ import annotations

from netlab.testing.commands import Outcome
from netlab.testing.conditions import polling_condition
from netlab.testing.lab import LabDriver
from netlab.testing.node import NodeDriver

__all__ = ["LabDriver", "NodeDriver", "Outcome", "polling_condition"]
