"""The numbers of the format (``vma.h``)."""

from __future__ import annotations

BLOCK = 4096
"""Bytes of a block: the unit in which zeros are left out."""

CLUSTER_BLOCKS = 16

CLUSTER = BLOCK * CLUSTER_BLOCKS
"""Bytes of a cluster: the unit in which a disk is listed."""

FULL = (1 << CLUSTER_BLOCKS) - 1
"""The mask of a cluster that is stored whole."""

SECTOR = 512
"""Sizes of disks are multiples of it."""

EXTENT_HEADER = 512

SLOTS = 59
"""Clusters that an extent has room for."""

WRITTEN_SLOTS = 58
"""Clusters that Proxmox's writer puts into one, and so does ours."""

MAX_EXTENT = EXTENT_HEADER + SLOTS * CLUSTER
"""Bytes of the largest extent, header and data."""

FIXED_HEADER = 12288
"""Bytes of the header before its table of blobs."""

MAX_WRITTEN_HEADER = 512 * 1024
"""Bytes of a header that Proxmox's writer makes at most."""

MAX_HEADER = 32 << 20
"""Bytes of a header that is read: 256 configurations and 254 names of the largest size fit."""

CONFIG_SLOTS = 256

MAX_DEVICE = 254
"""The highest number of a device. 255 has a place in the header, but Proxmox does not read it."""

MAX_BLOB = 65535

MAX_CLUSTERS = 1 << 32
"""Clusters of the largest disk, 256 TiB."""

SAVED_STATE = "vmstate"
"""The device name of saved memory: its clusters come in order, and its size is not exact."""

STATE_SLACK = 256
"""Clusters that saved memory may have more than twice what the header says: 16 MiB."""
