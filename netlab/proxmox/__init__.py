"""Proxmox both ways: nodes as virtual machines there, and virtual machines from there as nodes.

All of it is pure::

    configuration.py  qemu-server.conf <-> a frozen value; positions kept
    formats.py        what single values may be
    schema.py         what each setting may be, as a table
    rules.py          whether Proxmox takes a configuration as it is meant
    networks.py       which bridge and VLAN a lab's segments become
    export.py         a plan's node -> a configuration
    names.py          names of backups
    recipe.py         what a whole lab needs beside its machines
    cards.py          a network card -> a node's interface
    importing.py      configurations -> a topology, and what it cannot say

Where a rule comes from stands beside it, as the file of Proxmox VE that has it.
"""
