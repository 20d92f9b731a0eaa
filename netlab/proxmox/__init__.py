"""Proxmox both ways: nodes as virtual machines there, and virtual machines from there as nodes.

What is live stands last; what it does is computed as frozen values first::

    configuration.py  qemu-server.conf <-> a frozen value; positions kept
    formats.py        what single values may be
    schema.py         what each setting may be, as a table
    rules.py          whether Proxmox takes a configuration as it is meant
    networks.py       which bridge and VLAN a lab's segments become
    export.py         a plan's node -> a configuration
    leftovers.py      what of a node is left out
    names.py          names of backups
    recipe.py         what a whole lab needs beside its machines
    cards.py          a network card -> a node's interface
    volumes.py        drives -> a node's disks
    identity.py       CPU, SMBIOS, generation id, agent -> keys of a node
    hardware.py       firmware, machine, disks -> keys of a node
    findings.py       what is found meanwhile: mistakes, and what a topology cannot say
    importing.py      configurations -> a topology
    target.py         what goes to a host and where on it, and what its API refuses
    calls.py          machines and their disks -> the calls of a push
    undo.py           the calls that take it back
    answers.py        what the host's answers say
    holding.py        running nodes held at one moment
    flat.py           copies of disks as the API takes them
    api.py            Proxmox's HTTP API on Trio
    push.py           the calls, made, and taken back when one fails
    archives.py       disks of archives, extracted once
    restoring.py      archives -> their disks, and a topology that boots from them

Where a rule comes from stands beside it, as the file of Proxmox VE that has it.
"""
