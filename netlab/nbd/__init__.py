"""Reading disks over NBD: what an export says it holds, and which of it is only zeros.

The map of the package::

    protocol.py     requests, heads and pieces of replies, as values; no I/O
    negotiation.py  from the greeting to an export, as steps; no I/O
    assembly.py     the pieces of one reply, put together and held against what was asked; no I/O
    wire.py         whole messages on a connected socket
    exchange.py     requests and replies, many at once
    reading.py      going through a disk, with requests ahead of the reader
    client.py       one export of a server: ``async with open_export(socket, name) as disk``
    files.py        an image file, served by a program: ``async with open_image(path, "qcow2")``

The rules are those of https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md, which
the modules call "proto.md". A server is not believed: every length is held against what was asked
before anything is allocated for it.
"""
