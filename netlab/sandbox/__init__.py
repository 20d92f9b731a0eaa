"""The privileged border: the lab's namespaces, their links and their PID 1.

Host side, in the process that owns the lab::

    sandbox.py      open_sandbox and the live Sandbox
    connection.py   requests to PID 1, their answers, the exits of what it started
    host.py         what the host must offer, PID 1's command line, why a kernel refuses
    layout.py       segments of a plan -> checked names and interface numbers

Both sides::

    messages.py     one message is one datagram: JSON, descriptors, a process id

PID 1, single-threaded, on the standard library and pyroute2's message classes::

    init.py         the loop: requests, exits, the end
    spawn.py        starts programs with descriptors under given numbers
    seclusion.py    namespaces of its own for a program that serves a folder
    links.py        bridges, taps, link state, counters, capture sockets
    taps.py         /dev/net/tun
    wiring.py       frames through every segment
    netlink.py      the only home of pyroute2
    system.py       mounts, capabilities, sysctls, limits

Nothing is imported here: PID 1 starts in milliseconds.
"""
