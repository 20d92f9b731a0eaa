"""cloud-init in a guest that it makes the node, with what the node brings along beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from netlab.testing import LabDriver, NodeDriver
from tests.testing.compactdisc import make_disc
from tests.testing.conftest import live, open_driver

pytestmark = pytest.mark.machines

LIMIT = 600.0
"""Seconds: the first boot of a whole system, with all that cloud-init does in it, emulated."""

TEXT = """\
name: cloud
nodes:
  alone:
    id: 1
    image: debian
    configure: false
    loopback: true
    cdroms: "ISO"
    credentials: {greeting: hello}
    cloud_init:
      users:
        alice:
          ssh_authorized_keys: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKey alice
          groups: adm
          hashed_passwd: $6$salt$hash
      ssh_authorized_keys: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOwn us
      user_data: |
        #cloud-config
        hostname: other
        users: [{name: bob}]
        write_files: [{path: /root/theirs, content: theirs}]
        runcmd: ["echo theirs >>/root/order"]
    files: {/etc/motd: hello, /root/secret: {text: x, mode: 0600}}
    run: [echo ours >>/root/order]
    routes: [default via 10.0.0.1]
  peer: {id: 2, image: micro}
links: ["alone:uplink -- peer"]
"""


async def test_cloud_init_makes_a_guest_the_node_where_netlab_does_not(tmp_path: Path) -> None:
    iso = tmp_path / "disc.iso"
    iso.write_bytes(make_disc("no system", label="TOOLS"))
    async with open_driver(TEXT.replace("ISO", str(iso)), limit=LIMIT) as lab:
        await check_alone(lab["alone"])
        await check_network(lab)
        seed = live(lab["alone"]).machine.folder / "seed.img"
        assert seed.stat().st_mode & 0o777 == 0o600
    assert not seed.exists()


async def check_alone(node: NodeDriver) -> None:
    assert await node.succeed("cloud-init status") == "status: done\n"
    assert await node.succeed("hostname; id -nG alice; id -un bob") == "alone\nalice adm\nbob\n"
    keys = await node.succeed("cat ~alice/.ssh/authorized_keys ~debian/.ssh/authorized_keys")
    assert "AAAAIKey alice" in keys
    assert "AAAAIOwn us" in keys
    assert "alice:$6$salt$hash:" in await node.succeed("cat /etc/shadow")
    assert await node.succeed("cat /etc/motd /root/theirs; stat -c %a /root/secret") == (
        "hellotheirs600\n"
    )
    assert await node.succeed("cat /root/order") == "ours\ntheirs\n"
    assert await node.succeed("blkid -o value -s LABEL /dev/sr0") == "TOOLS\n"
    assert await node.succeed("systemd-creds --system cat greeting") == "hello"


async def check_network(lab: LabDriver) -> None:
    node = lab["alone"]
    assert "10.0.0.0/31" in await node.succeed("ip address show dev uplink")
    assert "172.16.0.1/32" in await node.succeed("ip address show dev lo")
    assert "default via 10.0.0.1 dev uplink" in await node.succeed("ip route show")
    await node.wait_until_succeeds("ping -c1 -W1 peer")
    await lab["peer"].wait_until_succeeds("ping -c1 -W1 10.0.0.0")
