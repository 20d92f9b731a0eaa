"""Extents and clusters without I/O: what is built is read back, broken rules are told."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.errors import ArchiveError
from netlab.vma import Device, Problem
from netlab.vma.format.clusters import MAX_PAGES, ClusterSet
from netlab.vma.format.coverage import Coverage
from netlab.vma.format.extents import (
    Extent,
    Piece,
    block_runs,
    build_extent,
    build_zero_extents,
    find_blocks,
    parse_extent,
    pick_blocks,
)
from netlab.vma.format.header import read_length
from netlab.vma.format.layout import BLOCK, CLUSTER, FULL
from netlab.vma.format.placement import MIN_HOLE, place
from tests.vma.archives import (
    UUID_1,
    patch,
    pattern,
    seal_extent,
)

masks = st.one_of(st.just(0), st.just(FULL), st.integers(0, FULL))


@given(st.lists(masks, min_size=1, max_size=59), st.integers(1, 254), st.integers(0, 2**32 - 59))
def test_an_extent_is_read_back_as_it_was(listed: list[int], device: int, first: int) -> None:
    data = build_extent(UUID_1.bytes, device, first, listed)
    assert len(data) == 512
    extent = parse_extent(data, UUID_1.bytes, 3, 12800)
    assert extent is not None
    assert (extent.number, extent.offset) == (3, 12800)
    assert extent.pieces == (Piece(device, first, tuple(listed), 0),)
    assert extent.size == BLOCK * sum(mask.bit_count() for mask in listed)


@st.composite
def slot_runs(draw: st.DrawFn) -> list[int]:
    """Slots that count up from one that is empty, of no device, or at the edge of a device."""
    cluster = draw(st.sampled_from([*range(5), 2**32 - 2, 2**32 - 1]))
    first = draw(st.integers(0, 2)) << 32 | cluster
    return list(range(first, first + draw(st.integers(1, 59))))


@given(st.lists(slot_runs(), min_size=1, max_size=4), st.sampled_from([0, 0, 0, 1 << 40]))
def test_clusters_of_zeros_are_read_as_what_their_slots_say(
    runs: list[list[int]], reserved: int
) -> None:
    slots = [slot | reserved if slot else 0 for run in runs for slot in run][:59]
    packed = struct.pack(">59Q", *slots, *[0] * (59 - len(slots)))
    data = seal_extent(build_extent(UUID_1.bytes, 1, 0, [0])[:40] + packed)
    extent = parse_extent(data, UUID_1.bytes, 0, 0)
    assert extent is not None
    found = [
        (piece.device, piece.first + index, mask)
        for piece in extent.pieces
        for index, mask in enumerate(piece.masks)
    ]
    keys = [slot & ~(1 << 40) for slot in slots]
    assert found == [(key >> 32, key % 2**32, 0) for key in keys if key >> 32]
    assert all(
        (before.device, before.first + len(before.masks)) != (after.device, after.first)
        for before, after in itertools.pairwise(extent.pieces)
    )


def test_bit_0_of_a_mask_is_the_first_block() -> None:
    data = build_extent(UUID_1.bytes, 7, 9, [1])
    assert data[40:48] == bytes([0, 1, 0, 7, 0, 0, 0, 9])
    assert find_blocks(pattern(1, *[0] * 14, 2), 1) == [0x8001]


@given(st.integers(1, 300), st.integers(0, 2**32 - 300))
def test_extents_of_zeros_are_those_that_would_be_made_one_by_one(count: int, first: int) -> None:
    expected = [
        build_extent(UUID_1.bytes, 1, start, [0] * min(58, first + count - start))
        for start in range(first, first + count, 58)
    ]
    assert build_zero_extents(UUID_1.bytes, 1, first, count) == b"".join(expected)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=80))
def test_the_blocks_that_are_not_zero_are_found_and_picked(numbers: list[int]) -> None:
    data = pattern(*numbers)
    data += bytes(-len(data) % CLUSTER)
    listed = find_blocks(data, len(data) // CLUSTER)
    assert b"".join(pick_blocks(memoryview(data), listed)) == pattern(*filter(None, numbers))
    assert find_blocks(bytearray(data), len(data) // CLUSTER) == listed
    runs = [count for mask in listed for _, count in block_runs(mask)]
    assert sum(runs) == len(list(filter(None, numbers)))


@given(st.lists(st.integers(0, 1), min_size=1, max_size=80), st.integers(0, 5), st.data())
def test_a_piece_is_placed_as_it_was(numbers: list[int], first: int, data: st.DataObject) -> None:
    disk = pattern(*numbers)
    whole = disk + bytes(-len(disk) % CLUSTER)
    listed = find_blocks(whole, len(whole) // CLUSTER)
    stored = b"".join(pick_blocks(memoryview(whole), listed))
    size = len(disk) - data.draw(st.integers(0, BLOCK - 1))
    result = bytearray(size)
    piece = Piece(1, first, tuple(listed), 0)
    base = first * CLUSTER
    for each in place(piece, memoryview(stored), base + size):
        content = b"".join(each.parts)
        assert len(content) == each.size
        assert len(each.parts) <= 1024
        result[each.offset - base : each.offset - base + each.size] = content
    assert len(result) == size
    assert bytes(result) == disk[:size]


def test_long_gaps_stay_holes_and_short_ones_are_one_write() -> None:
    blocks = [1] + [0] * (MIN_HOLE - 1) + [2] + [0] * MIN_HOLE + [3] + [0] * 14
    data = pattern(*blocks)
    listed = find_blocks(data, 2)
    stored = memoryview(pattern(1, 2, 3))
    writes = list(place(Piece(1, 0, tuple(listed), 0), stored, None))
    assert [(each.offset // BLOCK, each.size // BLOCK) for each in writes] == [
        (0, MIN_HOLE + 1),
        (2 * MIN_HOLE + 1, 1),
    ]


EXTENT = build_extent(UUID_1.bytes, 1, 0, [1, FULL, 0])


@pytest.mark.parametrize(
    ("extent", "message"),
    [
        (EXTENT[:300], "the archive ends after 300 bytes of an extent's header"),
        (bytes(512), "no extent begins here: bytes follow that belong to nothing"),
        (patch(EXTENT, 4, b"\0\1"), "no extent begins here"),
        (patch(EXTENT, 41, b"\xff"), "the checksum of the extent's header is wrong"),
        (seal_extent(patch(EXTENT, 8, b"x")), "the extent belongs to another archive"),
        (
            seal_extent(patch(EXTENT, 6, struct.pack(">H", 18))),
            "its clusters have 17 blocks, but 18 are said to follow",
        ),
    ],
)
def test_a_broken_extent_says_what_and_where(extent: bytes, message: str) -> None:
    with pytest.raises(ArchiveError, match=f"^extent 4 at byte 99: {message}") as caught:
        parse_extent(extent, UUID_1.bytes, 4, 99)
    assert (caught.value.offset, caught.value.extent) == (99, 4)


def test_empty_slots_may_be_anywhere_and_devices_may_take_turns() -> None:
    slots = [0, (1 << 48) | (1 << 32) | 5, 0, (3 << 48) | (2 << 32), (1 << 32) | 6, (1 << 32) | 9]
    body = struct.pack(">59Q", *slots, *[0] * 53)
    data = seal_extent(struct.pack(">4sHH16s16s", b"VMAE", 0, 3, UUID_1.bytes, b"") + body)
    extent = parse_extent(data, UUID_1.bytes, 0, 0)
    assert extent is not None
    assert extent.pieces == (
        Piece(1, 5, (1,), 0),
        Piece(2, 0, (3,), BLOCK),
        Piece(1, 6, (0,), 3 * BLOCK),
        Piece(1, 9, (0,), 3 * BLOCK),
    )


def test_the_reserved_byte_of_a_slot_is_passed_over() -> None:
    data = seal_extent(patch(build_extent(UUID_1.bytes, 1, 0, [0]), 42, b"\x09"))
    extent = parse_extent(data, UUID_1.bytes, 0, 0)
    assert extent is not None
    assert extent.pieces == (Piece(1, 0, (0,), 0),)


def test_a_cluster_behind_the_highest_number_is_not_one_of_the_next_device() -> None:
    slots = [(1 << 32) | 0xFFFFFFFF, 2 << 32]
    body = struct.pack(">59Q", *slots, *[0] * 57)
    data = seal_extent(struct.pack(">4sHH16s16s", b"VMAE", 0, 0, UUID_1.bytes, b"") + body)
    extent = parse_extent(data, UUID_1.bytes, 0, 0)
    assert extent is not None
    assert [(piece.device, piece.first) for piece in extent.pieces] == [(1, 0xFFFFFFFF), (2, 0)]


def _accept(devices: list[Device], *pieces: Piece) -> list[str]:
    problems: list[Problem] = []
    coverage = Coverage(devices, problems.append)
    for number, piece in enumerate(pieces):
        coverage.accept(Extent(number, 1000 * number, (piece,), 0))
    coverage.finish()
    return [str(problem) for problem in problems]


DISK = Device(1, "a", 3 * CLUSTER - BLOCK - 512)


@pytest.mark.parametrize(
    ("pieces", "problems"),
    [
        ([Piece(1, 0, (0, 0, 0), 0)], []),
        ([Piece(1, 2, (FULL,), 0), Piece(1, 0, (0, 0), 0)], []),
        ([Piece(1, 2, (0x7FFF,), 0), Piece(1, 0, (0, 0), 0)], []),
        ([], ["a: clusters 0 to 2 of 3 are missing"]),
        ([Piece(1, 0, (0,), 0), Piece(1, 2, (0,), 0)], ["a: cluster 1 of 3 is missing"]),
        (
            [Piece(1, 0, (0, 0, 0), 0), Piece(1, 1, (0,), 0)],
            ["extent 1 at byte 1000: a: cluster 1 is there twice"],
        ),
        (
            [Piece(1, 0, (0, 0, 0), 0), Piece(1, 3, (0,), 0)],
            ["extent 1 at byte 1000: a: cluster 3 is behind its end: it has 3 clusters"],
        ),
        (
            [Piece(1, 0, (0, 0, 0x8001), 0), Piece(1, 0, (0, 0, 0), 0)],
            ["extent 0 at byte 0: a: blocks of cluster 2 are behind its end, byte 192000"],
        ),
        (
            [Piece(9, 0, (0,), 0), Piece(1, 0, (0, 0, 0), 0)],
            ["extent 0 at byte 0: cluster 0 is of device 9, which there is not"],
        ),
    ],
)
def test_every_cluster_must_be_there_once(pieces: list[Piece], problems: list[str]) -> None:
    assert _accept([DISK], *pieces) == problems


def test_saved_memory_comes_in_order_and_may_be_larger_than_expected() -> None:
    state = Device(1, "vmstate", CLUSTER)
    assert _accept([state], Piece(1, 0, (0, 0), 0), Piece(1, 2, (0,), 0)) == []
    assert _accept([state], Piece(1, 1, (0,), 0)) == [
        "extent 0 at byte 0: vmstate: cluster 1 is out of order: 0 was to come"
    ]


spans = st.lists(st.tuples(st.integers(0, 140_000), st.integers(1, 70_000)), max_size=12)


@given(spans, st.integers(1, 200_000))
def test_a_set_of_clusters_knows_what_is_there_twice_and_what_is_missing(
    added: list[tuple[int, int]], count: int
) -> None:
    known = ClusterSet()
    model: set[int] = set()
    for first, length in added:
        twice = [cluster for cluster in range(first, first + length) if cluster in model]
        assert known.add(first, length) == (twice[0] if twice else None)
        model.update(range(first, first + length))
    missing = [
        cluster
        for first, length in known.missing(count)
        for cluster in range(first, first + length)
    ]
    assert missing == [cluster for cluster in range(count) if cluster not in model]
    assert known.count_gaps(count) == len(list(known.missing(count)))


def test_missing_clusters_are_told_in_whole_runs_however_many() -> None:
    known = ClusterSet()
    known.add(10, 5)
    assert list(known.missing(1 << 32)) == [(0, 10), (15, (1 << 32) - 15)]
    assert known.count_gaps(1 << 32) == 2


def test_scattered_clusters_take_bounded_memory() -> None:
    known = ClusterSet(8)
    for page in range(100):
        known.add(page * 32768, 32768)  # whole pages take no room
    for page in range(100, 108):
        known.add(page * 32768, 1)
    with pytest.raises(ArchiveError, match="too scattered"):
        known.add(108 * 32768, 1)


def test_the_disks_of_an_archive_share_that_memory() -> None:
    coverage = Coverage([Device(number, f"d{number}", 1 << 48) for number in range(1, 255)])
    pages = range(MAX_PAGES // 128)
    extents = [
        Extent(0, 0, tuple(Piece(number, page * 32768 + 32767, (0,), 0) for page in pages), 0)
        for number in range(1, 255)
    ]
    with pytest.raises(ArchiveError, match="too scattered"):
        list(map(coverage.accept, extents))


@given(st.binary(max_size=600))
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        read_length(data)
    with pytest.raises(ArchiveError):
        parse_extent(data, UUID_1.bytes, 0, 0)
