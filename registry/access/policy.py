"""The one place that decides whether a request may go on."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from registry.domain.access import Identity
from registry.domain.action import Action
from registry.domain.errors import Denied, RegistryError, Unauthorized, Unsupported
from registry.domain.grants import ALL, Pattern
from registry.domain.names import Digest, RepositoryName, Tag


class Policy:
    """What grants give, what tokens are for, and what the registry as a whole does not do now.

    `immutable`: globs of tags that can be made, then neither moved nor deleted.
    """

    def __init__(self, *, readonly: bool, deletion: bool, immutable: Sequence[str] = ()) -> None:
        self._readonly = readonly
        self._deletion = deletion
        self._immutable = immutable

    def decide(
        self,
        identity: Identity,
        action: Action,
        repository: RepositoryName | None = None,
        reference: Tag | None = None,
        digest: Digest | None = None,
    ) -> RegistryError | None:
        """None for yes, else the refusal. Every route asks, on every request, before it does anything.

        With a tag and a digest: the tag exists and points there now. Only the transaction that changes it knows that.
        """
        refusal = _connect(identity, action) if repository is None else _verb(identity, action, repository)
        if refusal is not None:
            return refusal
        if self._readonly and action in (Action.PUSH, Action.OVERWRITE, Action.DELETE):
            return Unsupported("the registry is read-only now (storage.maintenance.readonly.enabled)")
        if action is Action.DELETE and not self._deletion:
            return Unsupported("deletion is switched off here (storage.delete.enabled)")
        if reference is not None and digest is not None and self._stays(reference):
            return Denied(
                f"the tag {reference} is immutable here (tags.immutable): it can neither move nor go; "
                "push under a new tag"
            )
        return None

    def browse(self, identity: Identity) -> RegistryError | None:
        """The same for lists of what the identity may pull, as people look at them.

        Unlike clients, who are asked to log in first (`_connect`), they see what anybody may pull without a login.
        """
        if identity.token is None and identity.rights.anywhere(Action.PULL):
            return None
        return self.decide(identity, Action.LIST)

    def administer(self, identity: Identity, pattern: Pattern = ALL) -> RegistryError | None:
        """The same for users, groups, robots, rules and the audit log, and for grants within a pattern.

        Robots and CI jobs never may, so that no credential makes another one (reliability A-20).
        """
        token = identity.token
        if not identity.is_known or (token is not None and not token.covers(Action.ADMIN, "")):
            return Unauthorized()
        is_person = not identity.name.startswith(("robot:", "ci:"))
        if is_person and identity.rights.allow_pattern(Action.ADMIN, pattern):
            return None
        return Denied(f"this takes a person with the verb admin on {pattern.text}")

    def _stays(self, tag: Tag) -> bool:
        return any(fnmatchcase(tag, pattern) for pattern in self._immutable)


def _connect(identity: Identity, action: Action) -> RegistryError | None:
    """For what names no repository. Whoever has shown who they are is let in; anonymous ones with a token, if there
    is anything for them.

    Without either they are asked first, although there may be something: clients that wait to be asked for the login
    they were given would never see more than that.
    """
    token = identity.token
    is_let_in = identity.is_known or (token is not None and identity.rights.anywhere(Action.PULL))
    is_for_this = token is None or action is Action.CONNECT or token.covers(action, "")
    return None if is_let_in and is_for_this else Unauthorized()


def _verb(identity: Identity, action: Action, repository: RepositoryName) -> RegistryError | None:
    """401 leads to more: a login, or a token that was not asked for yet. 403 does not."""
    token = identity.token
    if identity.rights.allow(action, repository) and (token is None or token.covers(action, repository)):
        return None
    asked_in_vain = token is None or token.was_refused(action, repository) or token.covers(action, repository)
    if identity.is_known and asked_in_vain:
        refusal = Denied(
            f"{identity.name} may not {action} here; ask an administrator, who sees why with `digestry access explain`"
        )
        refusal.action = action
        return refusal
    return Unauthorized()
