"""A plan's node becomes a running QEMU, and is spoken to.

The modules, in the order in which a machine comes to life::

    argv.py        NodePlan -> QEMU's command line; pure
    devices.py       what else it has, beside disks and network cards
    disk.py        overlays over images
    accel.py       KVM when it really works, else TCG
    machine.py     open_machine: QEMU from start to end
    companion.py   a program beside it
    tpm.py           swtpm
    shares.py        virtiofsd, for folders of the host
    qmp.py         QEMU's monitor: commands and events
    agent.py       the guest agent: programs and files in the guest
    channel.py       its wire protocol, in step after anything
    console.py     the serial console: logged, attachable
    identity.py    hostname, interfaces, addresses, routes, files, commands: pushed over the agent
    verify.py        and read back
    mounts.py      shares, mounted in the guest
    seed.py        what a node is, as cloud-init reads it; pure
    cloudinit.py     and waited for

    framing.py     lines out of a byte stream, bounded
    scopes.py      a nursery whose tasks serve a block
"""
