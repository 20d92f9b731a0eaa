"""The rules that hold between extents: every cluster of every disk is listed exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from netlab.vma.format.clusters import MAX_PAGES, ClusterSet
from netlab.vma.format.extents import Extent, Piece
from netlab.vma.format.header import Device
from netlab.vma.format.layout import BLOCK, CLUSTER, FULL
from netlab.vma.format.problems import Problem, Report, refuse


class Coverage:
    """Follows the extents of an archive from its beginning to its end.

    Attributes:
        devices: By number.
    """

    def __init__(self, devices: Sequence[Device], report: Report = refuse) -> None:
        self.devices = {device.number: device for device in devices}
        pages = MAX_PAGES // max(1, len(devices))
        self._seen = {device.number: ClusterSet(pages) for device in devices}
        self._next_state = 0  # its next cluster
        self._report = report

    def size_of(self, device: Device) -> int:
        """Return bytes of a device, when the archive has ended: of saved memory what came of it."""
        return self._next_state * CLUSTER if device.is_saved_state else device.size

    def accept(self, extent: Extent) -> tuple[Piece, ...]:
        """Return the pieces of an extent that belong on a disk.

        Raises:
            ArchiveError: What the report raises; or the clusters are too scattered.
        """
        return tuple(piece for piece in extent.pieces if self._accept(piece, extent))

    def finish(self, most: int = 1) -> int:
        """Report what is missing, now that the archive has ended.

        Args:
            most: How many runs of clusters are reported.

        Returns:
            How many more there are.

        Raises:
            ArchiveError: What the report raises.
        """
        more = 0
        for device in self.devices.values():
            if device.is_saved_state:
                continue
            seen = self._seen[device.number]
            told = 0
            for first, count in islice(seen.missing(device.clusters), most):
                told += 1
                last = f" to {first + count - 1}" if count > 1 else ""
                plural = "s" if count > 1 else ""
                self._report(
                    Problem(
                        f"{device.name}: cluster{plural} {first}{last} of {device.clusters} "
                        f"{'are' if plural else 'is'} missing"
                    )
                )
            if told == most:
                more += seen.count_gaps(device.clusters) - told
            most -= told
        return more

    def _accept(self, piece: Piece, extent: Extent) -> bool:
        device = self.devices.get(piece.device)
        if device is None:
            message = f"cluster {piece.first} is of device {piece.device}, which there is not"
            self._report(Problem(message, extent.offset, extent.number))
            return False
        mistake = self._find_mistake(device, piece)
        if mistake is None:
            return True
        self._report(Problem(f"{device.name}: {mistake}", extent.offset, extent.number))
        return False

    def _find_mistake(self, device: Device, piece: Piece) -> str | None:
        if device.is_saved_state:
            return self._follow_state(device, piece)
        end = piece.first + len(piece.masks)
        if end > device.clusters:
            beyond = max(piece.first, device.clusters)
            return f"cluster {beyond} is behind its end: it has {device.clusters} clusters"
        if end == device.clusters and _reaches_out(device, piece.masks[-1]):
            return f"blocks of cluster {end - 1} are behind its end, byte {device.size}"
        duplicate = self._seen[device.number].add(piece.first, len(piece.masks))
        return None if duplicate is None else f"cluster {duplicate} is there twice"

    def _follow_state(self, device: Device, piece: Piece) -> str | None:
        if piece.first != self._next_state:
            return f"cluster {piece.first} is out of order: {self._next_state} was to come"
        if piece.first + len(piece.masks) > device.most_clusters:
            return (
                f"cluster {max(piece.first, device.most_clusters)} is too much of saved memory: "
                f"the header has {device.clusters} clusters, and {device.most_clusters} are taken"
            )
        self._next_state += len(piece.masks)
        return None


def _reaches_out(device: Device, mask: int) -> bool:
    """Whether a last cluster has blocks behind the end; a whole one may, and is cut off."""
    inside = -(-(device.size - (device.clusters - 1) * CLUSTER) // BLOCK)
    return mask != FULL and bool(mask >> inside)
