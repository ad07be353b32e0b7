"""The stateful tests (reliability d-4): two workers on one folder against a model of what they must do."""

from collections.abc import Mapping, Sequence

from tests.model.agreement import Agreement
from tests.model.blobs import BlobRules
from tests.model.content import digest_of
from tests.model.lists import ListRules
from tests.model.mishaps import MishapRules
from tests.model.stories import StoryRules
from tests.model.uploads import UploadRules


class Ending(Agreement):
    """What must hold when an example ends."""

    def teardown(self) -> None:
        try:
            self._pull_everything()
            self.check_disk()
            self.site.rows.check_files(self.model, everywhere=True)
            self.end()
        finally:
            self.site.close()

    def end(self) -> None:
        pass

    def _pull_everything(self) -> None:
        for name, repository in self.model.repositories.items():
            self.agree(self.ask("GET", f"/v2/{name}/tags/list"), self.model.tags, name, None, None)
            for digest, held in repository.manifests.items():
                if held.live:
                    answer = self.ask("GET", f"/v2/{name}/manifests/{digest}")
                    self.agree(answer, self.model.manifest, name, digest)
                    self._pull_parts(name, held.needs)

    def _pull_parts(self, name: str, needs: Mapping[str, str]) -> None:
        """A manifest that can be read pulls completely, but for what was damaged behind the registry's back."""
        for digest, kind in needs.items():
            if kind == "manifest":
                answer = self.ask("GET", f"/v2/{name}/manifests/{digest}")
                assert (answer.status, digest_of(answer.body)) == (200, digest), answer
            else:
                readable = self.model.blobs[digest].readable
                answer = self.pull_blob(name, digest)
                assert (answer.status == 200 and digest_of(answer.body, digest[:6]) == digest) == readable


class RequestMachine(UploadRules, BlobRules, ListRules, MishapRules, Ending):
    """What clients ask for."""


class LifecycleMachine(StoryRules, Ending):
    """What is deleted, restored, rolled back, collected, scrubbed."""

    def end(self) -> None:
        self.end_of_time()


class WholeMachine(UploadRules, ListRules, StoryRules, Ending):
    """Everything at once."""

    def end(self) -> None:
        self.end_of_time()


MACHINES: Sequence[type[Agreement]] = (RequestMachine, LifecycleMachine, WholeMachine)
