"""Proxmox's API: who is spoken with, and what failures say."""

from __future__ import annotations

import socket
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from netlab.errors import CertificateError, ProxmoxError, ProxmoxTaskError, UsageError
from netlab.proxmox.api import Host, _pin, open_api
from netlab.proxmox.calls import Call
from tests.proxmox.serving import Serving, serve

VERSION = Call(about="ask for the version", method="GET", path="/version")
START = Call(
    about="start the machine 100",
    method="POST",
    path="/nodes/pve1/qemu/100/status/start",
    task=True,
)


async def test_a_pinned_certificate_is_trusted_and_the_token_is_known(serving: Serving) -> None:
    async with open_api(serving.host) as api:
        assert (await api.call(VERSION))["release"] == "9.0"


async def test_a_fingerprint_may_be_written_as_proxmox_shows_it(serving: Serving) -> None:
    plain = serving.host.fingerprint or ""
    shown = ":".join(plain[at : at + 2] for at in range(0, 64, 2)).upper()
    async with open_api(replace(serving.host, fingerprint=shown)) as api:
        await api.call(VERSION)


async def test_another_certificate_is_refused_before_anything_is_sent(serving: Serving) -> None:
    with pytest.raises(CertificateError, match="not the one that was pinned") as caught:
        async with open_api(replace(serving.host, fingerprint="00" * 32)) as api:
            await api.call(VERSION)
    assert caught.value.exit_code == 4
    assert serving.inside.requests == []


def expire(certificate: str, key: str) -> bytes:
    """Sign a certificate anew that has ended since; return it in DER."""
    x509 = cast("Any", import_module("cryptography.x509"))
    encoding = cast("Any", import_module("cryptography.hazmat.primitives.serialization"))
    old = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
    now = datetime.now(UTC)
    made = (
        x509
        .CertificateBuilder()
        .subject_name(old.subject)
        .issuer_name(old.issuer)
        .public_key(old.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now - timedelta(days=1))
    )
    for extension in old.extensions:
        made = made.add_extension(extension.value, extension.critical)
    private = encoding.load_pem_private_key(Path(key).read_bytes(), None)
    new = made.sign(private, old.signature_hash_algorithm)
    Path(certificate).write_bytes(new.public_bytes(encoding.Encoding.PEM))
    return cast("bytes", new.public_bytes(encoding.Encoding.DER))


async def test_a_pinned_certificate_that_has_expired_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = cast("Any", import_module("fakepve.certs"))
    make = certificates.make_cert

    def make_expired(*words: object, **more: object) -> tuple[str, str, bytes]:
        certificate, key, _ = make(*words, **more)
        return certificate, key, expire(certificate, key)

    monkeypatch.setattr(certificates, "make_cert", make_expired)
    with serve(tmp_path) as serving:
        with pytest.raises(CertificateError, match="has expired") as caught:
            async with open_api(serving.host) as api:
                await api.call(VERSION)
        assert "pvecm updatecerts" in (caught.value.hint or "")
        assert serving.inside.requests == []


async def test_without_a_pin_a_certificate_that_nobody_vouches_for_is_refused(
    serving: Serving,
) -> None:
    with pytest.raises(CertificateError, match="nobody that is trusted here"):
        async with open_api(replace(serving.host, fingerprint=None)) as api:
            await api.call(VERSION)
    assert serving.inside.requests == []


async def test_without_a_pin_a_certificate_that_the_system_trusts_is_taken(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", serving.certificate)
    async with open_api(replace(serving.host, fingerprint=None)) as api:
        await api.call(VERSION)


async def test_who_takes_the_address_over_after_the_look_is_refused_as_well(
    serving: Serving, tmp_path: Path
) -> None:
    context = await _pin(
        "127.0.0.1", serving.inside.port, bytes.fromhex(serving.host.fingerprint or "")
    )
    with serve(tmp_path) as other:
        for inside, refused in ((serving.inside, False), (other.inside, True)):
            stream = await trio.open_ssl_over_tcp_stream(
                "127.0.0.1", inside.port, ssl_context=context
            )
            with pytest.raises(trio.BrokenResourceError) if refused else nullcontext():
                await stream.do_handshake()
            await trio.aclose_forcefully(stream)


async def test_an_unknown_token_is_told(serving: Serving) -> None:
    with pytest.raises(ProxmoxError, match="the token is not known there") as caught:
        async with open_api(replace(serving.host, token="netlab@pve!lab=other")) as api:
            await api.call(VERSION)
    assert caught.value.status == 401


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(Host("https://pve", "a@pve!b=secret"))


@pytest.mark.parametrize(
    ("address", "token", "fingerprint", "message"),
    [
        ("http://pve:8006", "a@b!cd=e", None, "no address of Proxmox"),
        ("pve", "a@b!cd=e", None, "no address of Proxmox"),
        ("https://pve:port", "a@b!cd=e", None, "no address of Proxmox"),
        ("https://me@pve", "a@b!cd=e", None, "no address of Proxmox"),
        ("https://pve/x", "a@b!cd=e", None, "no address of Proxmox"),
        ("https://pve 1:8006", "a@b!cd=e", None, "no address of Proxmox"),
        ("https://192.168.1.300", "a@b!cd=e", None, "no address of Proxmox"),
        ("https://pve..example", "a@b!cd=e", "00" * 32, "no address of Proxmox"),
        ("https://p\u00ae..x", "a@b!cd=e", "00" * 32, "no address of Proxmox"),
        ("https://[::1%25eth0]", "a@b!cd=e", None, "no address of Proxmox"),
        ("https://pve", "root@pam", None, "no API token"),
        ("https://pve", "a@b!cd=e\r\nX: y", None, "no API token"),
        ("https://pve", "a@b!cd=e", "12:34", "no SHA-256 fingerprint"),
    ],
)
async def test_what_cannot_be_a_host_is_told_before_it_is_called(
    address: str, token: str, fingerprint: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        async with open_api(Host(address, token, fingerprint)):
            pass
    assert caught.value.exit_code == 2


async def test_a_host_that_does_not_answer_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"https://127.0.0.1:{unused.getsockname()[1]}"
        for pin in (None, "00" * 32):
            with pytest.raises(ProxmoxError, match="does not answer"):
                async with open_api(Host(address, "a@b!cd=e", pin)) as api:
                    await api.call(VERSION)


async def test_an_answer_of_another_server_is_told(serving: Serving) -> None:
    serving.inside.failures[("GET", "/version")] = {
        "status": 200,
        "message": "<p>hello",
        "times": 1,
        "error": None,
        "html": True,
    }
    with pytest.raises(ProxmoxError, match="the answer is none of the API") as caught:
        async with open_api(serving.host) as api:
            await api.call(VERSION)
    assert caught.value.status == 200


async def test_a_refusal_shows_what_the_host_says_of_every_parameter(serving: Serving) -> None:
    call = Call(
        about="create the machine",
        method="POST",
        path="/nodes/pve1/qemu",
        parameters=(("vmid", "100"), ("cores", "0"), ("bios", "x")),
    )
    with pytest.raises(ProxmoxError, match="cannot create the machine") as caught:
        async with open_api(serving.host) as api:
            await api.call(call)
    assert caught.value.status == 400
    assert {line.split(":")[0] for line in (caught.value.evidence or "").splitlines()} == {
        "cores",
        "bios",
    }


async def test_a_task_whose_log_is_its_failure_alone_says_it_once(serving: Serving) -> None:
    machine = serving.inside.add_vm(100, "a")
    machine.start_error = "no such bridge"
    with pytest.raises(ProxmoxTaskError, match="cannot start the machine 100: no such") as caught:
        async with open_api(serving.host) as api:
            await api.call(START)
    assert caught.value.evidence is None


async def test_a_task_is_waited_for_and_stopped_when_nobody_waits_any_more(
    serving: Serving,
) -> None:
    machine = serving.inside.add_vm(100, "a")
    machine.start_secs = 0.5
    serving.inside.time_scale = 1
    async with open_api(serving.host) as api:
        await api.call(START)
    assert machine.status == "running"
    machine.status, machine.start_secs = "stopped", 3600
    async with open_api(serving.host) as api:
        with trio.move_on_after(1):
            await api.call(START)
    stops = [path for method, path, _ in serving.inside.requests if method == "DELETE"]
    assert len(stops) == 1
    assert "/nodes/pve1/tasks/UPID:pve1:" in stops[0]
