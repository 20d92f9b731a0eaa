"""Seeds for cloud-init."""

from __future__ import annotations

import email
import json
from collections.abc import Callable, Mapping
from email.message import Message
from pathlib import Path
from typing import Any

from netlab.machine.seed import make_seed
from netlab.plan.model import Plan
from netlab.plan.resolve import resolve
from netlab.topology.load import loads

TEXT = """\
name: cloud
nodes:
  server:
    image: debian
    id: 1
    configure: false
    loopback: true
    vlans: 7
    cloud_init:
      users:
        alice:
          ssh_authorized_keys: ssh-ed25519 AAAA alice
          groups: [adm, users]
          sudo: true
          shell: /bin/bash
          hashed_passwd: $6$salt$hash
        bob:
      ssh_authorized_keys: [ssh-ed25519 BBBB, ssh-rsa CCCC us]
    files: {/etc/motd: hello, /root/key: {text: "a: [", mode: 0600}}
    run: ["echo \\"$1\\" ' >x"]
    routes: [default via 192.168.7.2, {to: "2001:db8:9::/48", via: "fe80::1", interface: up},
      "2001:db8:8::/48 via 2001:db8:8000::2"]
  other: {id: 2, image: debian, vlans: 7, cloud_init: true, run: [true]}
links: ["server:up -- other"]
"""


def seeds(text: str = TEXT) -> tuple[Plan, dict[str, Mapping[str, bytes]]]:
    plan = resolve(loads(text))
    return plan, {node.name: make_seed(node, plan.hosts) for node in plan.nodes}


def config(data: bytes) -> Any:
    head, _, rest = data.partition(b"\n")
    assert head == b"#cloud-config"
    return json.loads(rest)


def parts(data: bytes) -> list[Message]:
    message = email.message_from_bytes(data)
    assert message.is_multipart()
    return [part for part in message.walk() if not part.is_multipart()]


def test_a_seed_is_what_is_written_down(golden: Callable[[Path, str], None]) -> None:
    folder = Path(__file__).parent / "golden"
    for node, files in seeds()[1].items():
        text = "".join(f"== {name}\n{content.decode()}" for name, content in files.items())
        golden(folder / f"{node}.seed", text)


def test_what_netlab_configures_cloud_init_leaves_alone() -> None:
    files = seeds()[1]["other"]
    assert json.loads(files["network-config"]) == {"config": "disabled"}
    said = config(files["user-data"])
    assert said == {
        "preserve_hostname": True,
        "manage_etc_hosts": False,
        "users": ["default"],
        "locale": False,
    }


def test_more_user_data_comes_as_a_second_part_whatever_is_in_it() -> None:
    raw = "#!/bin/sh\necho --boundary\nContent-Type: ä\n"
    more = f"cloud_init: {{user_data: {json.dumps(raw, ensure_ascii=False)}}}"
    files = seeds(TEXT.replace("cloud_init: true", more))[1]["other"]
    ours, theirs = parts(files["user-data"])
    assert config(bytes(ours.get_payload(decode=True)))["preserve_hostname"] is True
    assert theirs.get_content_type() == "text/plain"
    assert bytes(theirs.get_payload(decode=True)).decode() == raw
    assert theirs["Merge-Type"].startswith("list(append)")


def test_a_network_config_of_its_own_takes_the_place_of_ours() -> None:
    text = TEXT.replace("      users:", "      network_config: 'version: 2'\n      users:")
    assert seeds(text)[1]["server"]["network-config"] == b"version: 2"


def test_another_seed_is_another_instance_and_the_same_one_is_the_same() -> None:
    first, again = seeds()[1]["server"], seeds()[1]["server"]
    changed = seeds(TEXT.replace("hello", "bye"))[1]["server"]
    assert first == again
    assert first["meta-data"] != changed["meta-data"]
