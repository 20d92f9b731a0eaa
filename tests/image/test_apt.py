"""apt.py: what apt says, read."""

from __future__ import annotations

from netlab.image import apt


def test_output_of_apt_is_read() -> None:
    text = (
        "Reading package lists...\n"
        f"'http://h/i/iproute2_6-3_amd64.deb' iproute2_6-3_amd64.deb 12 SHA256:{'a' * 64}\n"
        f"'http://h/b_1%3a2_all.deb' b_1%3a2_all.deb 7 SHA256:{'b' * 64}\n"
        "'http://h/c_1_all.deb' c_1_all.deb 7 MD5Sum:00\n"
        f"'http://h/d' ../d_1_all.deb 7 SHA256:{'b' * 64}\n"
    )
    archives = apt.parse_uris(text)
    assert [archive.package for archive in archives] == ["b=1:2", "iproute2=6-3"]
    assert [archive.size for archive in archives] == [7, 12]
