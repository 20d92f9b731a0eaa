"""Topology -> :class:`~netlab.plan.model.Plan`: pure, frozen, JSON-able.

No host, clock, environment, working directory or chance takes part: the same topology gives the
same plan everywhere::

    resolve.py     the way through the others
    settings.py    built-in < defaults < groups < node
    disks.py       the disks of a node
    devices.py     what else it has
    seeds.py       what cloud-init finds
    inventory.py   node patterns -> nodes with names, ids and settings
    wiring.py      vlans, interfaces and links -> segments with named interfaces
    addressing.py  pools, subnets, who gets which address
    routing.py     static routes
    names.py       taps, bridges, long names, MACs, UUIDs
    catalogue.py   what is known of each image
    images.py      the user's own images
    model.py       the plan
    codec.py       the plan as JSON and back, its digest, the difference of two
    select.py      a part of a plan
    files.py       the files of the host that it names
"""
