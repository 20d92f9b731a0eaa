"""Text -> :class:`~netlab.topology.model.Topology`.

The only home of YAML and of the user's pydantic models. Every mistake is reported with its position
(:mod:`netlab.topology.source`), and the value that comes out keeps the positions, so that the
planner's mistakes have them too::

    load.py       a file, and the files that it names
    document.py   YAML events -> values and positions; bombs are refused here
    variables.py  ${name:-default}
    retired.py    keys that are none any more, or are another tool's
    model.py      what may be written, with a description on every field
    links.py      the part of it that joins nodes
    devices.py    the part of it that says what else a machine has
    cloudinit.py  the part of it that says what cloud-init finds
    checks.py     the part of it that says what has to be true
    recipe.py     what may be written in an image's recipe
    recipe_file.py  a recipe, and the files that it names
    trees.py      files and folders that go into images
    reading.py    files that are read whole
    scalars.py    the types of single values: text in, typed value out
    prefixes.py   which prefixes hosts can have addresses of
    ranges.py     r[1-6]
    schema.py     the same model as a JSON schema for editors

The language itself is described in ``netlab/docs/topology.md``.
"""
