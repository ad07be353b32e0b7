"""Every Location and Link. They are paths, whatever Host says, unless `http.host` names our address."""

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from registry.api.call import Call
from registry.domain.names import Digest


def blob(call: Call, digest: Digest) -> str:
    return _base(call) + f"/blobs/{digest}"


def manifest(call: Call, digest: Digest) -> str:
    return _base(call) + f"/manifests/{digest}"


def upload(call: Call, upload_id: str, offset: int) -> str:
    """Where an upload goes on. The offset tells a replay from the next piece (design P14)."""
    return _base(call) + f"/blobs/uploads/{upload_id}?offset={offset}"


def next_page(call: Call, path: str, query: Mapping[str, object]) -> dict[str, str]:
    """The header that leads to the next page of a list at `path` under /v2/."""
    return {"Link": f'<{_host(call)}/v2/{path}?{urlencode(query, doseq=True, quote_via=quote)}>; rel="next"'}


def _base(call: Call) -> str:
    return f"{_host(call)}/v2/{call.repository}"


def _host(call: Call) -> str:
    return call.registry.settings.http.host
