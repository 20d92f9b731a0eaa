"""The format, without I/O: bytes to frozen values and back, and every rule of it.

The order of the modules::

    layout.py     the numbers that everything else is made of
    problems.py   what is wrong, and where
    names.py      which names a disk or a configuration may have
    header.py     the header: configurations and devices, in a table of blobs
    extents.py    an extent's header, and which blocks it stores
    clusters.py   which clusters were seen, in bounded memory
    coverage.py   the rules that hold between extents
    placement.py  where the blocks of an extent belong on a disk

Facts of the format come from Proxmox's ``vma_spec.txt``, ``vma.h``, ``vma-reader.c`` and
``vma-writer.c``; where these differ, the reader's code decides. All numbers are big endian, except
the length of a blob, which is little endian whatever the specification says.
"""
