"""Small real images made without network: blobs, manifests, OCI layouts and docker archives."""

import gzip
import hashlib
import io
import json
import random
import tarfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

Json = dict[str, Any]
PLATFORMS = ("linux/amd64", "linux/arm64")
LAYER_BYTES = 2048


@dataclass(frozen=True)
class Flavour:
    """The media types of one family of manifests."""

    manifest: str
    index: str
    config: str
    layer: str


OCI = Flavour(
    manifest="application/vnd.oci.image.manifest.v1+json",
    index="application/vnd.oci.image.index.v1+json",
    config="application/vnd.oci.image.config.v1+json",
    layer="application/vnd.oci.image.layer.v1.tar+gzip",
)
DOCKER = Flavour(
    manifest="application/vnd.docker.distribution.manifest.v2+json",
    index="application/vnd.docker.distribution.manifest.list.v2+json",
    config="application/vnd.docker.container.image.v1+json",
    layer="application/vnd.docker.image.rootfs.diff.tar.gzip",
)
FLAVOURS: Mapping[str, Flavour] = {"oci": OCI, "docker": DOCKER}
ALL_MANIFESTS = f"{OCI.manifest}, {OCI.index}, {DOCKER.manifest}, {DOCKER.index}"


class Blob(NamedTuple):
    """Content with its digest."""

    digest: str
    data: bytes


class Layer(NamedTuple):
    """A gzip'd tar with the digest of the tar itself."""

    digest: str
    data: bytes
    diff_id: str


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def blob(data: bytes) -> Blob:
    return Blob(digest_of(data), data)


def encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def descriptor(media_type: str, data: bytes, **extra: Any) -> Json:
    """A descriptor of this content; `extra` adds fields such as platform or annotations."""
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **extra}


def platform_of(name: str) -> Json:
    """`linux/arm/v7` as the platform object of a descriptor."""
    keys = ("os", "architecture", "variant")
    return dict(zip(keys, name.split("/"), strict=False))


def image_manifest(
    config: bytes,
    layers: Sequence[bytes],
    *,
    flavour: Flavour = OCI,
    config_type: str | None = None,
    layer_type: str | None = None,
    **extra: Any,
) -> bytes:
    """An image manifest; `extra` adds top-level fields such as subject, artifactType, annotations."""
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": flavour.manifest,
            "config": descriptor(config_type or flavour.config, config),
            "layers": [descriptor(layer_type or flavour.layer, layer) for layer in layers],
            **extra,
        }
    )


def index_manifest(manifests: Sequence[Json], *, flavour: Flavour = OCI, **extra: Any) -> bytes:
    """An index (docker: manifest list) of these descriptors; `extra` adds top-level fields."""
    return encode({"schemaVersion": 2, "mediaType": flavour.index, "manifests": list(manifests), **extra})


def layer(seed: str, size: int = LAYER_BYTES) -> Layer:
    """A layer with one file of random bytes, the same for the same seed."""
    tar = tarball({"data": random.Random(seed).randbytes(size), "seed": seed.encode()})
    data = gzip.compress(tar, mtime=0)
    return Layer(digest_of(data), data, digest_of(tar))


def tarball(files: Mapping[str, bytes]) -> bytes:
    """A tar of these files that depends on nothing but them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def image_config(diff_ids: Sequence[str], platform: str = PLATFORMS[0]) -> bytes:
    """The config of an image with these layers, the way engines expect it."""
    return encode(
        {
            "created": "2026-01-01T00:00:00Z",
            **platform_of(platform),
            "config": {"Cmd": ["/data"]},
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "test"} for _ in diff_ids],
        }
    )


@dataclass(frozen=True)
class Image:
    """A complete image of one platform."""

    flavour: Flavour
    platform: str
    config: bytes
    layers: tuple[Layer, ...]
    manifest: bytes

    @property
    def media_type(self) -> str:
        return self.flavour.manifest

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def blobs(self) -> list[Blob]:
        """All it consists of but the manifest."""
        return [blob(self.config), *(Blob(one.digest, one.data) for one in self.layers)]

    def descriptor(self) -> Json:
        return descriptor(self.media_type, self.manifest, platform=platform_of(self.platform))


@dataclass(frozen=True)
class Index:
    """A multi-platform image."""

    flavour: Flavour
    images: tuple[Image, ...]
    manifest: bytes

    @property
    def media_type(self) -> str:
        return self.flavour.index

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def blobs(self) -> list[Blob]:
        """All it consists of but the index: a layout keeps manifests among the blobs."""
        return [part for one in self.images for part in (*one.blobs, blob(one.manifest))]

    def descriptor(self) -> Json:
        return descriptor(self.media_type, self.manifest)


def image(seed: str, *, layers: int = 2, platform: str = PLATFORMS[0], flavour: Flavour = OCI) -> Image:
    """A complete image, the same for the same arguments."""
    contents = tuple(layer(f"{seed}/{number}/{platform}") for number in range(layers))
    config = image_config([one.diff_id for one in contents], platform)
    manifest = image_manifest(config, [one.data for one in contents], flavour=flavour)
    return Image(flavour, platform, config, contents, manifest)


def index(seed: str, *, platforms: Sequence[str] = PLATFORMS, flavour: Flavour = OCI) -> Index:
    """A complete multi-platform image."""
    images = tuple(image(seed, platform=platform, flavour=flavour) for platform in platforms)
    manifest = index_manifest([one.descriptor() for one in images], flavour=flavour)
    return Index(flavour, images, manifest)


def write_layout(folder: Path, content: Image | Index, tag: str = "v1") -> Path:
    """An OCI image layout with this content under this tag."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for part in (*content.blobs, blob(content.manifest)):
        (blobs / part.digest.removeprefix("sha256:")).write_bytes(part.data)
    entry = content.descriptor() | {"annotations": {"org.opencontainers.image.ref.name": tag}}
    (folder / "index.json").write_bytes(index_manifest([entry]))
    (folder / "oci-layout").write_bytes(encode({"imageLayoutVersion": "1.0.0"}))
    return folder


def write_layout_tar(path: Path, content: Image | Index, tag: str = "v1") -> Path:
    """The same layout as one tar, as `ctr images import` takes it."""
    folder = write_layout(path.with_suffix(".layout"), content, tag)
    with tarfile.open(path, "w") as archive:
        for name in ("oci-layout", "index.json", "blobs"):
            archive.add(folder / name, arcname=name)
    return path


def write_docker_archive(path: Path, content: Image, name: str) -> Path:
    """What `docker save` writes: for `docker load`, `podman load`, `crane push`."""
    config_name = f"{digest_of(content.config).removeprefix('sha256:')}.json"
    layers = {f"{one.diff_id.removeprefix('sha256:')}.tar": gzip.decompress(one.data) for one in content.layers}
    entry = {"Config": config_name, "RepoTags": [name], "Layers": list(layers)}
    manifest = json.dumps([entry]).encode()
    path.write_bytes(tarball({config_name: content.config, **layers, "manifest.json": manifest}))
    return path


class Served(NamedTuple):
    """A manifest as a registry serves it."""

    data: bytes
    media_type: str
    announced: str

    @property
    def digest(self) -> str:
        """Computed from the bytes, never taken from the registry's word."""
        return digest_of(self.data)

    @property
    def document(self) -> Json:
        document: Json = json.loads(self.data)
        return document


class NotServedError(AssertionError):
    """The registry answered with an error; a test that expects it looks at the code."""

    def __init__(self, address: str, code: int, body: str) -> None:
        super().__init__(f"GET {address}: {code} {body}")
        self.code = code


def _get(address: str, authorization: str) -> tuple[bytes, Message]:
    headers = {"Accept": ALL_MANIFESTS} | ({"Authorization": authorization} if authorization else {})
    request = urllib.request.Request(address, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read(), answer.headers
    except urllib.error.HTTPError as refused:
        with refused:
            raise NotServedError(address, refused.code, refused.read().decode(errors="replace")) from None


@dataclass(frozen=True)
class Remote:
    """A repository of a registry, read by plain HTTP: what clients are told is checked without them."""

    host: str
    name: str
    authorization: str = ""

    def __str__(self) -> str:
        """What clients call it: host:port/name."""
        return f"{self.host}/{self.name}"

    def reference(self, by: str, tag: str, digest: str) -> str:
        """The same manifest `by` its "tag" or by its "digest"."""
        return {"tag": f"{self}:{tag}", "digest": f"{self}@{digest}"}[by]

    def below(self, name: str) -> "Remote":
        return replace(self, name=f"{self.name}/{name}")

    def manifest(self, reference: str) -> Served:
        data, headers = self._get(f"manifests/{reference}")
        return Served(data, headers["Content-Type"], headers["Docker-Content-Digest"])

    def blob(self, digest: str) -> bytes:
        return self._get(f"blobs/{digest}")[0]

    def referrers(self, digest: str) -> list[str]:
        """The digests the referrers API lists for a subject."""
        return [one["digest"] for one in json.loads(self._get(f"referrers/{digest}")[0])["manifests"]]

    def _get(self, path: str) -> tuple[bytes, Message]:
        return _get(f"http://{self.host}/v2/{self.name}/{path}", self.authorization)
