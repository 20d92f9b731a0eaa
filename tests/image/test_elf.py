"""elf.py: what is in an ELF file, and that a damaged one is an error and not a crash."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.errors import ImageError
from netlab.image.elf import is_elf, read_module_information, read_needs, read_notes
from tests.image.conftest import make_elf, make_module


def test_a_programs_libraries_and_loader_are_read() -> None:
    needs = read_needs(make_elf(needed=["liba.so.1", "libb.so"], interpreter="/lib64/ld.so"), "x")
    assert needs.libraries == ("liba.so.1", "libb.so")
    assert needs.interpreter == "/lib64/ld.so"


def test_a_real_program_is_read() -> None:
    needs = read_needs(Path(sys.executable).read_bytes(), "python")
    assert any(name.startswith("libc.so") for name in needs.libraries)
    assert "ld-linux" in needs.interpreter


def test_a_static_program_needs_nothing() -> None:
    needs = read_needs(make_elf(), "x")
    assert (needs.libraries, needs.interpreter) == ((), "")


def test_a_modules_words_are_read() -> None:
    module = make_module(depends="a,b", aliases=["x", "y"])
    fields = read_module_information(module, "m")
    assert fields["depends"] == ("a,b",)
    assert fields["alias"] == ("x", "y")


def test_notes_are_read() -> None:
    notes = {(b"Xen\0", 18), (b"GNU\0", 3)}
    assert read_notes(make_elf(notes=sorted(notes)), "x") == notes


@pytest.mark.parametrize("read", [read_needs, read_module_information, read_notes])
@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01" + bytes(100)])
def test_what_is_no_elf_file_is_an_error_that_names_it(read: object, data: bytes) -> None:
    assert not is_elf(data)
    assert callable(read)
    with pytest.raises(ImageError, match="the file"):
        read(data, "the file")


@given(st.data())
def test_a_damaged_file_is_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(
        make_elf(needed=["liba"], interpreter="/ld", modinfo=["depends="], notes=[(b"Xen\0", 18)])
    )
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    for read in (read_needs, read_module_information, read_notes):
        with suppress(ImageError):
            read(cut, "x")
