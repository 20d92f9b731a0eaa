"""Proxmox's HTTP API on Trio: a token, a certificate that is verified or pinned, tasks.

The certificate is never not looked at. A host of Proxmox signs its own, so what people compare is
its fingerprint: a connection on which nothing is said shows the certificate, and the calls then
trust this one alone. The token leaves for nobody else.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any, cast, final
from urllib.parse import quote, urlsplit

import httpx
import trio

from netlab.errors import CertificateError, ProxmoxError, ProxmoxTaskError, UsageError
from netlab.proxmox.calls import Call
from netlab.proxmox.undo import stop_task

PORT = 8006
"""Where Proxmox's API listens."""

CHUNK = 1024 * 1024
"""Bytes of a file that are sent at once."""

CONNECT_TIMEOUT = 30.0
"""Seconds in which a host has to take a connection; everything else is the caller's deadline."""

START_TIMEOUT = 60.0
"""Seconds in which a host has to say which task it has started."""

LOG_LINES = 1000
"""Most lines of a failed task's log that are shown."""

_LONGEST_NAME = 253
_TOKEN = re.compile(r"[!-~]+@[!-~]+![A-Za-z][A-Za-z0-9._-]+=[!-~]+")
# A name of DNS in ASCII, with the underscores that hosts of one's own have.
_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}\.?")
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_OTHER_TIMES = {9, 10}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED (x509_vfy.h of OpenSSL)."""

_BOUNDARY = "netlab-c3f1a5b2d4e69708"
_INTERVALS = (0.05, 0.1, 0.2, 0.5, 1.0)
_HINTS = {
    401: "the token is not known there, or has expired",
    403: "the token lacks the right that is named here",
    595: "the node of the cluster is not there",
    596: "the host's own proxy got no answer in time; what was asked for may be done nevertheless",
}


@dataclass(frozen=True, slots=True)
class Host:
    """A host of Proxmox and how it is spoken with.

    Attributes:
        address: ``https://host:8006``; the port may be left out.
        token: ``USER@REALM!NAME=SECRET``, an API token.
        fingerprint: The SHA-256 of its certificate in hexadecimal, with or without colons; None to
            verify the certificate by the authorities that the system trusts.
    """

    address: str
    token: str = field(repr=False)
    fingerprint: str | None = None


@asynccontextmanager
async def open_api(host: Host) -> AsyncGenerator[Api]:
    """Open the API of a host.

    Args:
        host: The host.

    Raises:
        UsageError: The address, the token or the fingerprint cannot be one.
        CertificateError: It shows another certificate than the pinned one.
        ProxmoxError: It does not answer.
    """
    name, port = split_address(host.address)
    if _TOKEN.fullmatch(host.token) is None:
        raise UsageError("this is no API token", hint="it is USER@REALM!NAME=SECRET")
    pin = read_fingerprint(host.fingerprint)
    context = ssl.create_default_context() if pin is None else await _pin(name, port, pin)
    async with httpx.AsyncClient(
        base_url=f"https://{_literal(name)}:{port}/api2/json",
        headers={"Authorization": f"PVEAPIToken={host.token}"},
        verify=context,
        timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT),
        # No proxy and no authorities from the environment: what is trusted is said here.
        trust_env=False,
    ) as client:
        yield Api(client, name)


@final
class Api:
    """Makes calls; from :func:`open_api`."""

    def __init__(self, client: httpx.AsyncClient, name: str) -> None:
        self._client = client
        self._name = name

    async def call(
        self,
        call: Call,
        *,
        lock: str = "",
        sent: Callable[[int, int], None] | None = None,
    ) -> Any:
        """Make a call, and wait for its task if it starts one.

        Args:
            call: The call.
            lock: The token of the lock on virtual networks, for calls that need it.
            sent: Told how many bytes of the file are sent, and how many it has.

        Returns:
            What the API answers as ``data``.

        Raises:
            ProxmoxTaskError: The task failed; the evidence is its log.
            ProxmoxError: The host refuses, or does not answer.
        """
        parameters = [*call.parameters, *([("lock-token", lock)] if call.locked and lock else [])]
        if call.task and not call.file:
            answer = await self._start(call, parameters)
        else:
            answer = await self._send(call, parameters, sent)
        data = _read(call, answer)
        # Some calls start a task only where there is something to do.
        if call.task and isinstance(data, str) and data.startswith("UPID:"):
            await self._wait(call, data)
        return data

    async def _start(self, call: Call, parameters: list[tuple[str, str]]) -> httpx.Response:
        """Start a task; who is cancelled meanwhile still learns which it is, to stop it."""
        with trio.move_on_after(START_TIMEOUT, shield=True):
            return await self._send(call, parameters, None)
        raise ProxmoxError(
            f"cannot {call.about}: {self._name} does not answer within {START_TIMEOUT:g} s"
        )

    async def _send(
        self,
        call: Call,
        parameters: list[tuple[str, str]],
        sent: Callable[[int, int], None] | None,
    ) -> httpx.Response:
        try:
            if call.file:
                return await self._upload(call, parameters, sent)
            if call.method in {"GET", "DELETE"}:
                return await self._client.request(call.method, call.path, params=dict(parameters))
            return await self._client.request(call.method, call.path, data=dict(parameters))
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            message = f"cannot {call.about}: {self._name} does not answer: {reason}"
            if refusal := _find_refusal(error):
                raise _explain_refusal(self._name, refusal) from error
            raise ProxmoxError(message) from error

    async def _upload(
        self,
        call: Call,
        parameters: list[tuple[str, str]],
        sent: Callable[[int, int], None] | None,
    ) -> httpx.Response:
        fields = dict(parameters)
        name = fields.pop("filename")
        head = "".join(
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in fields.items()
        )
        head += (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="filename"; filename="{name}"'
            "\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        tail = f"\r\n--{_BOUNDARY}--\r\n"
        size = (await trio.Path(call.file).stat()).st_size
        return await self._client.post(
            call.path,
            content=_body(call.file, head.encode(), tail.encode(), size, sent),
            headers={
                "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
                # The server takes no body of unknown length (PVE/APIServer/AnyEvent.pm).
                "Content-Length": str(len(head) + size + len(tail)),
            },
        )

    async def _wait(self, call: Call, task: str) -> None:
        """Wait until a task has ended; Proxmox tells nobody, so it is asked, ever more rarely."""
        node, name = quote(task.split(":")[1], safe=""), quote(task, safe="")
        path = f"/nodes/{node}/tasks/{name}"
        try:
            await self._watch(call, path)
        except trio.Cancelled:
            # It would go on without us, and hold what is to be taken back.
            scope = trio.CancelScope(shield=True, relative_deadline=CONNECT_TIMEOUT)
            with scope, suppress(ProxmoxError):
                await self.call(stop_task(node, name))
                await self._watch(call, path)
            raise

    async def _watch(self, call: Call, path: str) -> None:
        look = Call(
            about=f"look how far it is to {call.about}", method="GET", path=f"{path}/status"
        )
        for interval in chain(_INTERVALS, repeat(_INTERVALS[-1])):
            status = _record(await self.call(look))
            if status.get("status") == "stopped":
                return await self._end(call, path, str(status.get("exitstatus", "no exit status")))
            await trio.sleep(interval)
        return None

    async def _end(self, call: Call, path: str, result: str) -> None:
        if result == "OK" or result.startswith("WARNINGS:"):
            return
        log = await self.call(
            Call(
                about="read the task's log",
                method="GET",
                path=f"{path}/log",
                parameters=(("limit", str(LOG_LINES)),),
            )
        )
        entries = cast("list[object]", log) if isinstance(log, list) else []
        # The reason is the message, and its log ends with it once more.
        said = {result, f"TASK ERROR: {result}"}
        lines = [str(one.get("t", "")) for one in map(_record, entries)]
        evidence = "\n".join(line for line in lines if line.strip() not in said)
        raise ProxmoxTaskError(f"cannot {call.about}: {result}", evidence=evidence or None)


async def _body(
    path: str, head: bytes, tail: bytes, size: int, sent: Callable[[int, int], None] | None
) -> AsyncIterator[bytes]:
    yield head
    done = 0
    async with await trio.open_file(path, "rb") as file:
        while chunk := await file.read(CHUNK):
            yield chunk
            done += len(chunk)
            if sent is not None:
                sent(done, size)
    yield tail


def _find_refusal(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """Return what TLS says against a certificate; httpx has it among its own error's causes."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def _explain_refusal(name: str, refusal: ssl.SSLCertVerificationError) -> CertificateError:
    hint = "pin it by its fingerprint (--fingerprint), as the host's own screen shows it"
    if refusal.verify_code in _OTHER_TIMES:
        # A pin says whose it is, and not that it lasts for ever.
        hint = "is the clock right here? Else it has to be renewed there: pvecm updatecerts --force"
    return CertificateError(
        f"nobody that is trusted here vouches for the certificate of {name}:"
        f" {refusal.verify_message}",
        hint=hint,
    )


def _read(call: Call, answer: httpx.Response) -> Any:
    try:
        body = _record(answer.json())
    except ValueError:
        body = {}
    if answer.is_success and "data" in body:
        return body["data"]
    # A page of some other server's is an answer, too.
    phrase = "" if answer.is_success else answer.reason_phrase
    reason = str(body.get("message") or phrase).strip()
    errors = "\n".join(
        f"{name}: {str(message).strip()}" for name, message in _record(body.get("errors")).items()
    )
    raise ProxmoxError(
        f"cannot {call.about}: {reason or 'the answer is none of the API'}",
        status=answer.status_code,
        hint=_HINTS.get(answer.status_code),
        evidence=errors or None,
    )


def _record(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def split_address(address: str) -> tuple[str, int]:
    """Return name and port of ``https://host:8006``; the port may be left out.

    Raises:
        UsageError: It is no such address.
    """
    try:
        parts = urlsplit(address)
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port, parts = None, None, urlsplit("")
    rest = (parts.username, parts.query, parts.fragment, parts.path.strip("/"))
    if parts.scheme != "https" or not name or not _is_host(name) or any(rest):
        raise UsageError(f"{address!r} is no address of Proxmox", hint="write https://HOST:8006")
    return name, port or PORT


def _is_host(name: str) -> bool:
    """Say whether a host can be called so: by a name, or by an address."""
    if ":" not in name and _NUMBERS.fullmatch(name) is None:
        return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    # The scope of one is nothing that httpx knows.
    return "%" not in name


def _literal(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def read_fingerprint(text: str | None) -> bytes | None:
    """Return a SHA-256 from hexadecimal digits, with or without colons; None for None.

    Raises:
        UsageError: It is none.
    """
    if text is None:
        return None
    plain = text.replace(":", "").strip()
    if re.fullmatch("[0-9a-fA-F]{64}", plain) is None:
        hint = "it is 32 pairs of hexadecimal digits, as Proxmox shows it under Certificates"
        raise UsageError(f"{text!r} is no SHA-256 fingerprint", hint=hint)
    return bytes.fromhex(plain)


async def _pin(name: str, port: int, fingerprint: bytes) -> ssl.SSLContext:
    """Return a context that trusts the one certificate with that fingerprint."""
    certificate = await _look(name, port)
    shown = hashlib.sha256(certificate).digest()
    if shown != fingerprint:
        raise CertificateError(
            f"{name} shows the certificate {shown.hex(':').upper()}, not the one that was pinned",
            hint="nothing was sent; compare it on the host's own screen",
        )
    context = ssl.create_default_context(cadata=ssl.DER_cert_to_PEM_cert(certificate))
    # It is known by itself: no authority has to be in the chain, and no name in it.
    context.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


async def _look(name: str, port: int) -> bytes:
    """Return the certificate that a host shows, over a connection on which nothing is said."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with trio.fail_after(CONNECT_TIMEOUT):
            stream = await trio.open_ssl_over_tcp_stream(name, port, ssl_context=context)
            async with stream:
                await stream.do_handshake()
                return cast("bytes", stream.getpeercert(binary_form=True))
    except (OSError, ssl.SSLError, trio.BrokenResourceError, trio.TooSlowError) as error:
        raise ProxmoxError(f"{name}:{port} does not answer: {error}") from error
