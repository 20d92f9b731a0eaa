"""Images: what guests boot from, built without root from distribution packages.

The road of a build, in the order of the modules::

    recipe.py     what an image is made of, as data; micro/ has the text files of `micro`
    own.py        the user's own recipes, as such data
    apt.py        the recipe's packages, resolved, downloaded and verified by the host's apt
    unpack.py     packages -> a tree of entries in memory; nothing is written, nothing is run
    elf.py        which libraries a program needs; what a kernel module says of itself
    kmod.py       kernel modules with all that they depend on, and the index for modprobe
    contents.py   tree and recipe -> the entries of the initial RAM disk
    cpio.py       entries -> the same bytes every time
    build.py      the road itself
    objects.py    finished images and their names, as files
    store.py      the store: whoever wants an image asks here; under the user's cache folder

On this road no maintainer script runs, there is no chroot and no mount, and a hostile package
cannot write outside of its image: its contents are only ever bytes under a name.

A whole system has a road of its own: system.py has its recipe, bootstrap.py installs it by
mmdebstrap, additions.py brings in files and runs commands, bootdisk.py makes the disk.
"""
