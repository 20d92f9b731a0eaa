"""What did not answer as it should: a host of Proxmox, the lab process."""

from __future__ import annotations

from netlab.errors.tree import NetlabError


class ProxmoxError(NetlabError):
    """A Proxmox host refused what it was asked, or did not answer as it should.

    Attributes:
        status: The HTTP status of its answer, or 0 if there was none.
    """

    def __init__(
        self, message: str, *, status: int = 0, hint: str | None = None, evidence: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, evidence=evidence)
        self.status = status


class CertificateError(ProxmoxError):
    """The certificate is not the one that was pinned, or nobody vouches for it."""


class ProxmoxTaskError(ProxmoxError):
    """A task on a Proxmox host failed; the evidence is what its log has beside the message."""


class ControlError(NetlabError):
    """The lab process did not answer as it should."""
