"""What the spec page wants of uploads and mounts."""

from tests.model.answers import Expected, Refusal, Sent, algorithm, check_lengths, created, location
from tests.model.content import digest_of
from tests.model.state import UPLOAD_EXPIRY, State, Upload


class Pushed(State):
    """Each method is one request."""

    def start(self, name: str, upload_id: str) -> Expected:
        self.uploads[upload_id] = Upload(self._made(name), self.now + UPLOAD_EXPIRY)
        return self._state(202, name, upload_id)

    def push(self, name: str, digest: str, data: bytes) -> Expected:
        repository = self._made(name)
        if digest_of(data, algorithm(digest)) != digest:
            raise Refusal(400, "DIGEST_INVALID")
        remembered = Upload(repository, self.now + UPLOAD_EXPIRY, data, digest)
        self.uploads[f"push {next(self._push_ids)}"] = remembered
        self._keep(repository, digest, data)
        return created(name, digest)

    def mount(self, name: str, digest: str, source: str | None, upload_id: str) -> Expected:
        sources = [source] if source is not None else list(self.repositories)
        if not any(self.holds(one, digest) for one in sources):
            return self.start(name, upload_id)
        self._link(self._made(name), digest)
        return created(name, digest)

    def patch(self, name: str, upload_id: str, sent: Sent) -> Expected:
        check_lengths(sent)
        upload = self._upload(name, upload_id)
        if upload.finished:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        self._append(upload_id, upload, sent)
        return self._state(202, name, upload_id)

    def finish(self, name: str, upload_id: str, digest: str, sent: Sent) -> Expected:
        check_lengths(sent)
        upload = self._upload(name, upload_id)
        if upload.finished:
            return self._repeat(upload, digest)
        self._append(upload_id, upload, sent)
        if digest_of(upload.data, algorithm(digest)) != digest:
            del self.uploads[upload_id]
            raise Refusal(400, "DIGEST_INVALID")
        upload.finished, upload.expires = digest, self.now + UPLOAD_EXPIRY
        self._keep(upload.repository, digest, upload.data)
        return created(name, digest)

    def status(self, name: str, upload_id: str) -> Expected:
        if self._upload(name, upload_id).finished:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        return self._state(204, name, upload_id)

    def cancel(self, name: str, upload_id: str) -> Expected:
        self.status(name, upload_id)
        del self.uploads[upload_id]
        return Expected(204)

    def expire(self) -> None:
        """The sweep: an upload whose time is over lives until it comes."""
        self.uploads = {key: upload for key, upload in self.uploads.items() if upload.expires >= self.now}

    def _upload(self, name: str, upload_id: str) -> Upload:
        """It goes where its repository goes: into the trash and back, and to another name."""
        upload = self.uploads.get(upload_id)
        if upload is None or upload.repository is not self.repositories.get(name):
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        return upload

    def _append(self, upload_id: str, upload: Upload, sent: Sent) -> None:
        offset = len(upload.data)
        is_nothing = sent.sized and not sent.data
        if sent.start is not None and sent.start != offset and not is_nothing:
            there = location(upload.repository.name, upload_id, offset)
            raise Refusal(416, "BLOB_UPLOAD_INVALID", {"Location": there, "Range": f"0-{offset - 1}"})
        upload.expires = self.now + UPLOAD_EXPIRY
        if sent.declared is not None and sent.declared != len(sent.data):
            raise Refusal(400, "SIZE_INVALID")
        upload.data += sent.data

    def _repeat(self, upload: Upload, digest: str) -> Expected:
        """A PUT whose answer was lost: it renews the lease (P16)."""
        name = upload.repository.name
        if upload.finished != digest:
            raise Refusal(400, "DIGEST_INVALID")
        if not self.holds(name, digest):
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN")
        self._link(upload.repository, digest)
        return created(name, digest)

    def _state(self, status: int, name: str, upload_id: str) -> Expected:
        offset = len(self.uploads[upload_id].data)
        # moby refuses `0--1` after a POST or PATCH (spec page, section 3.5)
        last = offset - 1 if status == 204 else max(offset - 1, 0)
        headers = {
            "Location": location(name, upload_id, offset),
            "Range": f"0-{last}",
            "Docker-Upload-UUID": upload_id,
        }
        return Expected(status, headers)
