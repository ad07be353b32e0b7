"""What names an upload."""

from dataclasses import dataclass

from registry.domain.names import RepositoryName


@dataclass(frozen=True, slots=True)
class UploadKey:
    """Which upload, and who says so: id, repository and identity only match together (CVE-2026-32589)."""

    id: str
    repository: RepositoryName
    identity: str
