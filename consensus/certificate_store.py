"""Certificates above the finalised point, and the contradictions among them that stop a peer (CHAIN R8).

A peer keeps at most one notarization a view. By the quorum argument a second one cannot exist while less than a third
of the weight is bad; were that broken, keeping one turns a fork into a halt.
"""

from __future__ import annotations

from dataclasses import dataclass

from .certificate import Certificate
from .statement import Kind, Statement
from .types import View


@dataclass(slots=True)
class ViewCertificates:
    """What is proven about one view."""

    notarization: Certificate | None = None
    nullification: Certificate | None = None
    finalization: Certificate | None = None

    def contradiction(self, certificate: Certificate) -> Certificate | None:
        """A kept certificate that cannot exist beside `certificate`, or None."""
        content = certificate.statement.parent_view, certificate.statement.block_hash
        if certificate.kind is Kind.NULLIFY:
            return self.finalization
        for kept in (self.finalization, self.notarization):
            if kept is not None and (kept.statement.parent_view, kept.statement.block_hash) != content:
                return kept
        return self.nullification if certificate.kind is Kind.FINALIZE else None

    def has(self, kind: Kind) -> bool:
        """Whether a certificate of this kind is kept; a finalization stands for the notarization too."""
        if kind is Kind.NOTARIZE:
            return self.notarization is not None or self.finalization is not None
        return (self.nullification if kind is Kind.NULLIFY else self.finalization) is not None

    def add(self, certificate: Certificate) -> None:
        """Keep it; a finalization overwrites the notarization."""
        if certificate.kind is Kind.NOTARIZE:
            self.notarization = certificate
        elif certificate.kind is Kind.NULLIFY:
            self.nullification = certificate
        else:
            self.finalization = certificate
            self.notarization = None

    def all(self) -> tuple[Certificate, ...]:
        """What is kept, the strongest first."""
        return tuple(kept for kept in (self.finalization, self.notarization, self.nullification) if kept is not None)


class CertificateStore:
    """Certificates of the era above F: one for each view and kind, kept until F passes them."""

    def __init__(self) -> None:
        self._views: dict[View, ViewCertificates] = {}
        self._finalised_views: dict[View, None] = {}
        self.highest = View(0)
        """Highest view with any certificate; 0 when there is none."""

    def contradiction(self, certificate: Certificate) -> Certificate | None:
        """A kept certificate of the same view that contradicts this one."""
        kept = self._views.get(certificate.statement.view)
        return None if kept is None else kept.contradiction(certificate)

    def has(self, kind: Kind, view: View) -> bool:
        """Whether the view is proven to be of this kind."""
        kept = self._views.get(view)
        return kept is not None and kept.has(kind)

    def has_any(self, view: View) -> bool:
        """Whether the view is over."""
        return view in self._views

    def add(self, certificate: Certificate) -> None:
        """Keep an accepted certificate."""
        view = certificate.statement.view
        kept = self._views.get(view)
        if kept is None:
            kept = self._views[view] = ViewCertificates()
        kept.add(certificate)
        if certificate.kind is Kind.FINALIZE:
            self._finalised_views[view] = None
        self.highest = max(self.highest, view)

    def notarised(self, view: View) -> Statement | None:
        """Statement of the block notarised (or finalised) in `view`."""
        kept = self._views.get(view)
        if kept is None:
            return None
        certificate = kept.finalization or kept.notarization
        return None if certificate is None else certificate.statement

    def highest_notarised(self, below: View, above: View) -> Statement | None:
        """The notarised statement of the highest view strictly between `above` and `below`."""
        for view in range(min(self.highest, below - 1), above, -1):
            statement = self.notarised(View(view))
            if statement is not None:
                return statement
        return None

    def finalizations(self) -> list[Certificate]:
        """Kept finalizations, the highest view first."""
        if not self._finalised_views:
            return []
        kept = (self._views[view].finalization for view in sorted(self._finalised_views, reverse=True))
        return [certificate for certificate in kept if certificate is not None]

    def drop_through(self, view: View) -> None:
        """Forget `view` and everything below it (R7)."""
        for old in [key for key in self._views if key <= view]:
            del self._views[old]
            self._finalised_views.pop(old, None)
        self.highest = max(self._views, default=View(0))

    def all(self) -> tuple[Certificate, ...]:
        """Everything kept, by ascending view."""
        return tuple(certificate for _, kept in sorted(self._views.items()) for certificate in kept.all())

    def of(self, view: View) -> tuple[Certificate, ...]:
        """What is kept of one view."""
        kept = self._views.get(view)
        return () if kept is None else kept.all()

    def __len__(self) -> int:
        return sum(len(kept.all()) for kept in self._views.values())
