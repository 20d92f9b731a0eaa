"""Archives of an initial RAM disk, read independently of who writes them."""

from __future__ import annotations

from netlab.image.cpio import Entry


def parse(archive: bytes) -> list[Entry]:
    """Read an archive by the letter of cpio(5), independently of the writer."""
    entries: list[Entry] = []
    position = 0
    while True:
        assert archive[position : position + 6] == b"070701"
        fields = [
            int(archive[position + 6 + 8 * number : position + 14 + 8 * number], 16)
            for number in range(13)
        ]
        _, mode, uid, gid, links, time, size, _, _, major, minor, name_size, check = fields
        assert (uid, gid, time, check) == (0, 0, 0, 0)
        assert links >= 1
        start = position + 110
        name = archive[start : start + name_size]
        assert name.endswith(b"\0")
        data_start = start + name_size + -(start + name_size) % 4
        data = archive[data_start : data_start + size]
        if name == b"TRAILER!!!\0":
            return entries
        entries.append(Entry(path=name[:-1].decode(), mode=mode, data=data, device=(major, minor)))
        position = data_start + size + -size % 4
