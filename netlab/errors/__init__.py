"""Every error that netlab raises on purpose, in one tree.

The class says whose matter it is, and that decides the exit code::

    NetlabError                      4   a machine or netlab itself failed
    ├── InputError                   2   what the user gave is wrong
    │   ├── TopologyError                all mistakes of a file, with positions
    │   ├── ConfigurationError           all mistakes of a Proxmox configuration
    │   ├── UsageError                   the command line asks for something that cannot be
    │   ├── UnknownNameError             no such lab, node, interface, image
    │   ├── NotOfferedError              a script asks for what netlab does not have
    │   ├── LabConflictError             a lab of that name is up from another plan
    │   └── ArchiveError                 a VMA archive is damaged, or cannot be made as asked
    ├── HostError                    3   the host lacks something
    │   ├── MissingProgramError          a program is not installed
    │   ├── MissingFeatureError          the kernel or a device does not offer it
    │   ├── CapacityError                not enough memory, disk or descriptors
    │   └── StorageError                 a file or a device cannot be read or written
    ├── CheckError                   1   a test or a check failed; nothing is broken
    │   ├── CommandError                 a command in a guest did not end as expected
    │   ├── WaitError                    what was waited for did not come in time
    │   └── ConditionError               what had to stay true did not
    ├── ProgramError                 4   a helper program failed
    ├── SandboxError                 4   the lab's namespaces, links or PID 1 failed
    │   └── WiringError                  a segment does not carry frames
    ├── ImageError                   4   an image could not be built or read
    ├── NBDError                     4   a disk could not be read over NBD
    ├── MachineError                 4   a QEMU or its guest failed
    │   ├── LaunchError                  QEMU did not start
    │   ├── MachineDiedError             QEMU ended while it was needed
    │   ├── QMPError
    │   │   ├── QMPCommandError          QEMU answered with an error
    │   │   ├── QMPProtocolError         QEMU answered with nonsense
    │   │   └── QMPClosedError           the connection ended
    │   ├── AgentError
    │   │   ├── AgentCommandError        the agent answered with an error
    │   │   ├── AgentProtocolError       the agent answered with nonsense
    │   │   ├── AgentInterruptedError    the agent ended, or its guest booted again
    │   │   └── AgentClosedError         the connection ended
    │   ├── GuestError                   the guest did not take its identity
    │   └── NotReadyError                the guest did not become ready in time
    ├── ProxmoxError                 4   a Proxmox host refused, or did not answer as it should
    │   ├── CertificateError             it is not the host that it was said to be
    │   └── ProxmoxTaskError             a task there failed; the evidence is the rest of its log
    └── ControlError                 4   the lab process did not answer as it should

An error carries a message (what is wrong), a hint (what to do), evidence (output, a command line,
the last lines of a console) and the fields of its class.
"""

from __future__ import annotations

from netlab.errors.hosts import (
    CapacityError,
    CheckError,
    CommandError,
    ConditionError,
    HostError,
    MissingFeatureError,
    MissingProgramError,
    ProgramError,
    StorageError,
    WaitError,
    explain_condition,
    explain_storage,
)
from netlab.errors.inputs import (
    ArchiveError,
    ConfigurationError,
    InputError,
    LabConflictError,
    Mistake,
    NotOfferedError,
    TopologyError,
    UnknownNameError,
    UsageError,
)
from netlab.errors.machines import (
    AgentClosedError,
    AgentCommandError,
    AgentError,
    AgentInterruptedError,
    AgentProtocolError,
    GuestError,
    ImageError,
    LaunchError,
    MachineDiedError,
    MachineError,
    NBDError,
    NotReadyError,
    QMPClosedError,
    QMPCommandError,
    QMPError,
    QMPProtocolError,
    SandboxError,
    WiringError,
)
from netlab.errors.services import CertificateError, ControlError, ProxmoxError, ProxmoxTaskError
from netlab.errors.tree import NetlabError, describe_status, leaves

__all__ = [
    "AgentClosedError",
    "AgentCommandError",
    "AgentError",
    "AgentInterruptedError",
    "AgentProtocolError",
    "ArchiveError",
    "CapacityError",
    "CertificateError",
    "CheckError",
    "CommandError",
    "ConditionError",
    "ConfigurationError",
    "ControlError",
    "GuestError",
    "HostError",
    "ImageError",
    "InputError",
    "LabConflictError",
    "LaunchError",
    "MachineDiedError",
    "MachineError",
    "MissingFeatureError",
    "MissingProgramError",
    "Mistake",
    "NBDError",
    "NetlabError",
    "NotOfferedError",
    "NotReadyError",
    "ProgramError",
    "ProxmoxError",
    "ProxmoxTaskError",
    "QMPClosedError",
    "QMPCommandError",
    "QMPError",
    "QMPProtocolError",
    "SandboxError",
    "StorageError",
    "TopologyError",
    "UnknownNameError",
    "UsageError",
    "WaitError",
    "WiringError",
    "describe_status",
    "explain_condition",
    "explain_storage",
    "leaves",
]

for _name in __all__:
    # Where an error comes from is what a failed test shows first: the one place to import it from.
    globals()[_name].__module__ = __name__
