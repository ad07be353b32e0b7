"""What the store raises, in the words of the registry."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from registry import metrics
from registry.domain.errors import BlobUploadUnknown, Unavailable
from storage.errors import StagedBytesMissing, StorageFailed, StorageFull

log = logging.getLogger(__name__)


@contextmanager
def storage_errors() -> Iterator[None]:
    """BlobMissing passes: only its catcher knows which blob was meant."""
    try:
        yield
    except StorageFull as error:
        metrics.storage_error("full")
        raise Unavailable("no space left for blobs; the operator must free some") from error
    except StorageFailed as error:
        metrics.storage_error("failed")
        log.exception("the blob store failed")
        raise Unavailable("the blob store failed; start this push again") from error
    except StagedBytesMissing as error:
        metrics.storage_error("missing")
        log.exception("staged bytes are missing")
        raise BlobUploadUnknown() from error


def is_broken(error: BaseException) -> bool:
    """Whether the store lost or may have lost bytes of this piece of work: it must be thrown away (D8)."""
    return isinstance(error.__cause__, (StorageFailed, StagedBytesMissing))
