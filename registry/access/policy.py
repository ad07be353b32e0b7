"""The one place that decides whether a request may go on."""

from registry.domain.access import Action, Identity
from registry.domain.errors import RegistryError, Unsupported
from registry.domain.names import Digest, RepositoryName, Tag


class Policy:
    """Open mode: everybody may do everything that the registry as a whole does."""

    def __init__(self, *, readonly: bool, deletion: bool) -> None:
        self._readonly = readonly
        self._deletion = deletion

    def decide(
        self,
        identity: Identity,
        action: Action,
        repository: RepositoryName | None = None,
        reference: Tag | None = None,
        digest: Digest | None = None,
    ) -> RegistryError | None:
        """None for yes, else the refusal. Every route asks, on every request, before it does anything."""
        if self._readonly and action in (Action.PUSH, Action.DELETE):
            return Unsupported("the registry is read-only now (storage.maintenance.readonly.enabled)")
        if action is Action.DELETE and not self._deletion:
            return Unsupported("deletion is switched off here (storage.delete.enabled)")
        return None
