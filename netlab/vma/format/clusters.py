"""Which clusters of a disk were seen, in memory that what an archive promises does not decide.

A page of the set is a number with a bit for each of its 32,768 clusters, 2 GiB of a disk, made
when the first of them is seen. A page that is full is a name in another set: an archive in order
needs one page at a time, whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterator

from netlab.errors import ArchiveError

_PAGE = 32768
_WHOLE = (1 << _PAGE) - 1
MAX_PAGES = 16384
"""Pages that are neither empty nor full, 64 MiB; an honest archive with so many of them would be
a disk of 32 TiB of which every 2 GiB are under way at once."""


class ClusterSet:
    """A set of cluster numbers.

    Args:
        pages: How many may be neither empty nor full; the sets of an archive share what there is.
    """

    def __init__(self, pages: int = MAX_PAGES) -> None:
        self._most = pages
        self._pages: dict[int, int] = {}
        self._full: set[int] = set()

    def add(self, first: int, count: int) -> int | None:
        """Add consecutive clusters; return the first one that was there already, or None.

        Raises:
            ArchiveError: They are too scattered to keep account of.
        """
        duplicate: int | None = None
        end = first + count
        while first < end:
            page, bit = divmod(first, _PAGE)
            taken = min(end - first, _PAGE - bit)
            known = self._add(page, ((1 << taken) - 1) << bit)
            if known and duplicate is None:
                duplicate = page * _PAGE + _lowest(known)
            first += taken
        return duplicate

    def _add(self, page: int, bits: int) -> int:
        """Add bits of a page; return those that were there already."""
        if page in self._full:
            return bits
        before = self._pages.get(page, 0)
        after = before | bits
        if after == _WHOLE:
            self._pages.pop(page, None)
            self._full.add(page)
        else:
            self._pages[page] = after
        if len(self._pages) > self._most:
            raise ArchiveError("the clusters of this archive are too scattered to be read")
        return before & bits

    def missing(self, count: int) -> Iterator[tuple[int, int]]:
        """Yield the clusters below `count` that are not there, as runs of (first, count)."""
        pages = -(-count // _PAGE)
        start: int | None = None
        for page in self._interesting(pages):
            for cluster, present in self._changes(page, count):
                if present and start is not None:
                    yield start, cluster - start
                    start = None
                elif not present and start is None:
                    start = cluster
        if start is not None:
            yield start, count - start

    def count_gaps(self, count: int) -> int:
        """Return how many runs :meth:`missing` yields, without looking at each."""
        pages = -(-count // _PAGE)
        gaps, is_gap = 0, False
        for page in self._interesting(pages):
            size = min(_PAGE, count - page * _PAGE)
            absent = ~self._bits(page) & ((1 << size) - 1)
            # A run begins where the cluster before is there.
            begins = absent & ~(absent << 1 | is_gap)
            gaps += begins.bit_count()
            is_gap = bool(absent >> size - 1)
        return gaps

    def _bits(self, page: int) -> int:
        return _WHOLE if page in self._full else self._pages.get(page, 0)

    def _interesting(self, pages: int) -> Iterator[int]:
        """Yield pages that are there, and of those that are not the first of each gap."""
        gap = 0
        for page in sorted((*self._pages, *self._full)):
            if page >= pages:
                break
            if page > gap:
                yield gap
            yield page
            gap = page + 1
        if gap < pages:
            yield gap

    def _changes(self, page: int, count: int) -> Iterator[tuple[int, bool]]:
        """Yield where presence begins or ends in a page; always its beginning."""
        bits = self._bits(page)
        base = page * _PAGE
        size = min(_PAGE, count - base)
        present, position = bool(bits & 1), 0
        while position < size:
            yield base + position, present
            rest = bits >> position
            position += _lowest(~rest if present else rest) if rest or present else _PAGE
            present = not present


def _lowest(bits: int) -> int:
    """Return the position of the lowest bit that is set."""
    return (bits & -bits).bit_length() - 1
