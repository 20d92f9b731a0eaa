"""The verbs as the NixOS test driver has them: synchronous, for scripts that are written for it.

portal.py      from the script's thread to Trio's and back
durations.py   times and parameters as scripts give them
shell.py       a command line under the options that scripts rely on
watch.py       what a machine tells while the script does something else
logging.py     what a script tells, and what is told of it
base.py        what all verbs share
guest.py       commands, files, ports and units of a guest
console.py     its serial console and its virtual terminals
power.py       power, cables, and QEMU's monitor
screen.py      its screen and keyboard
transfer.py    files
machine.py     all of these together: what a script calls a machine
conditions.py  what has to stay true
refused.py     what is not there, and what to do in its place
imports.py     what it imports of the NixOS driver
symbols.py     the names that a script finds

The names, parameters and defaults here are the NixOS driver's, and a test holds them so.
"""
