"""Settings: defaults, then a TOML file, then the environment, then flags. All problems are told at once.

A setting's key is its place in `Settings`, its variable REGISTRY_<SECTION>_<KEY>; keys have no underscore. Where
the official registry image has a word for a thing, ours is the same.
"""

import difflib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from registry import values
from registry.addresses import is_loopback, listens_on_loopback

PREFIX = "REGISTRY_"

T = TypeVar("T")


class SettingsError(Exception):
    """What is wrong with the settings, each line with its source."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _setting(default: T, parse: Callable[[object], T], about: str, *, written: str | None = None) -> T:
    """A field of a section; `written` is how the default stands in a file."""
    text = written if written is not None else default
    return field(default=default, metadata={"parse": parse, "about": about, "written": text})


# --- the settings ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TlsSettings:
    certificate: str = _setting("", values.text, "the PEM file with the certificate and its chain; empty: no TLS")
    key: str = _setting("", values.text, "the PEM file with the certificate's private key")
    minimumtls: str = _setting("tls1.2", values.choice("tls1.2", "tls1.3"), "the oldest version of TLS that is spoken")


@dataclass(frozen=True, slots=True)
class HttpSettings:
    addr: str = _setting("127.0.0.1:5000", values.address, "where to listen: host:port, :port, [::1]:port, unix:/path")
    host: str = _setting(
        "",
        values.host,
        "the address that clients use: brings the token service, makes every Location absolute. "
        "Empty: Locations are paths, and passwords go with each request",
    )
    workers: int = _setting(0, values.workers, "processes that serve; 0: one for each CPU it may use, at most 4")
    trustedproxies: tuple[str, ...] = _setting(
        (),
        values.proxies,
        "addresses, networks and unix whose X-Forwarded-For and -Proto are believed: who asks, and whether a password "
        "came over TLS; never for Locations",
    )
    tls: TlsSettings = TlsSettings()


_BLOBS = Path("data/blobs")


@dataclass(frozen=True, slots=True)
class FilesystemSettings:
    rootdirectory: Path = _setting(_BLOBS, values.path, "the folder for blobs", written=str(_BLOBS))  # noqa: RUF009 - a path is immutable


@dataclass(frozen=True, slots=True)
class DeleteSettings:
    enabled: bool = _setting(True, values.boolean, "whether clients may delete tags, manifests and blobs")


@dataclass(frozen=True, slots=True)
class ReadonlySettings:
    enabled: bool = _setting(False, values.boolean, "refuse every push and delete; pulls go on")


@dataclass(frozen=True, slots=True)
class MaintenanceSettings:
    readonly: ReadonlySettings = ReadonlySettings()


@dataclass(frozen=True, slots=True)
class StorageSettings:
    driver: str = _setting("filesystem", values.choice("filesystem"), "where blobs live")
    filesystem: FilesystemSettings = FilesystemSettings()
    delete: DeleteSettings = DeleteSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    url: str = _setting("sqlite:///data/registry.db", values.database_url, "the metadata's database")

    @property
    def path(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))


@dataclass(frozen=True, slots=True)
class HtpasswdSettings:
    path: str = _setting("", values.text, "a file of users with bcrypt hashes, beside those in the database; watched")
    realm: str = _setting("Digestry", values.realm, "what a Basic challenge calls this registry")


@dataclass(frozen=True, slots=True)
class TokenSettings:
    expiry: int = _setting(300_000, values.token_lifetime, "how long a bearer token is good, 60s to 1h", written="5m")


@dataclass(frozen=True, slots=True)
class AuthSettings:
    mode: str = _setting(
        "auto",
        values.choice("auto", "open", "open-anywhere", "required", "htpasswd"),
        "required: grants decide; htpasswd: who is in the file may push, pull and delete all; "
        "open: everybody may do everything, refused off loopback and behind a proxy; "
        "open-anywhere: everybody may push, pull and delete, on any address; "
        "auto: open on loopback without a proxy, else required",
    )
    htpasswd: HtpasswdSettings = HtpasswdSettings()
    token: TokenSettings = TokenSettings()
    plainhttp: bool = _setting(
        False,
        values.boolean,
        "take passwords over plain HTTP from other machines too: only where nobody can read the network",
    )
    adminsecret: str = _setting(
        "",
        values.secret,
        "the first administrator's password, at least 8 characters, used when nobody administers the registry yet; "
        "empty: made up and shown once",
    )


@dataclass(frozen=True, slots=True)
class RateLimitSettings:
    failures: str = _setting("10/minute", values.rate, "failed logins of one user from one address; empty: no limit")
    addressfailures: str = _setting("100/minute", values.rate, "failed logins from one address; empty: no limit")
    address: str = _setting("", values.rate, "requests from one address, such as 1000/minute; empty: no limit")
    subject: str = _setting("", values.rate, "requests of one user, robot or CI rule; empty: no limit")
    uploads: int = _setting(1000, values.count, "unfinished uploads of one user, robot or CI rule")


@dataclass(frozen=True, slots=True)
class GcSettings:
    interval: int = _setting(900_000, values.duration, "how often the garbage collection runs", written="15m")
    lease: int = _setting(
        86_400_000,
        values.duration,
        "how long pushed content is kept without a manifest or tag that needs it",
        written="24h",
    )
    trash: int = _setting(
        86_400_000,
        values.duration,
        "how long bytes stay that nothing names any more: as far back as a database may be set",
        written="24h",
    )


@dataclass(frozen=True, slots=True)
class TrashSettings:
    keep: int = _setting(
        1_209_600_000,
        values.duration,
        "how long deleted tags, manifests and repositories can be restored",
        written="14d",
    )


@dataclass(frozen=True, slots=True)
class ScrubSettings:
    interval: int = _setting(
        2_592_000_000, values.duration, "how often the bytes of every blob are hashed again", written="30d"
    )
    rate: int = _setting(
        16_777_216, values.size, "bytes a second that this may read; 0: only `digestry verify` does it", written="16MiB"
    )


@dataclass(frozen=True, slots=True)
class TagsSettings:
    immutable: tuple[str, ...] = _setting(
        (), values.texts, "globs of tags that can be made but neither moved nor deleted"
    )


@dataclass(frozen=True, slots=True)
class UploadsSettings:
    expiry: int = _setting(86_400_000, values.duration, "when an unfinished upload is given up", written="24h")


@dataclass(frozen=True, slots=True)
class LogSettings:
    level: str = _setting("info", values.choice("debug", "info", "warn", "error"), "the least that is logged")
    formatter: str = _setting(
        "auto", values.choice("auto", "text", "json"), "auto: text on a terminal, else one JSON object a line"
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting. Times in milliseconds."""

    http: HttpSettings = HttpSettings()
    storage: StorageSettings = StorageSettings()
    database: DatabaseSettings = DatabaseSettings()
    auth: AuthSettings = AuthSettings()
    ratelimit: RateLimitSettings = RateLimitSettings()
    gc: GcSettings = GcSettings()
    trash: TrashSettings = TrashSettings()
    scrub: ScrubSettings = ScrubSettings()
    tags: TagsSettings = TagsSettings()
    uploads: UploadsSettings = UploadsSettings()
    log: LogSettings = LogSettings()


def auth_mode(settings: Settings) -> str:
    """What `auth.mode` comes to: auto is open for this machine alone."""
    mode = settings.auth.mode
    if mode != "auto":
        return mode
    return "open" if serves_this_machine(settings.http) else "required"


def serves_this_machine(http: HttpSettings) -> bool:
    """Whether nobody else is meant to come: neither to the address, nor through a proxy on this machine."""
    host = urlsplit(http.host).hostname or "localhost"
    return listens_on_loopback(http.addr) and not http.trustedproxies and is_loopback(host)


# --- the catalogue: the tree above, flat -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting, for loading and for documents."""

    key: str
    parse: Callable[[object], Any]
    about: str
    default: Any

    @property
    def variable(self) -> str:
        return PREFIX + self.key.upper().replace(".", "_")


def _walk(section: Any, prefix: str) -> Iterator[Entry]:
    for item in fields(section):
        if is_dataclass(item.default):
            yield from _walk(item.default, f"{prefix}{item.name}.")
        else:
            yield Entry(prefix + item.name, item.metadata["parse"], item.metadata["about"], item.metadata["written"])


CATALOGUE: Mapping[str, Entry] = {entry.key: entry for entry in _walk(Settings(), "")}

# The official image chooses with the section's own name
_ALIASES = {"REGISTRY_STORAGE": "storage.driver", "REGISTRY_AUTH": "auth.mode"}
# Words of the official image that protect something: to ignore one would be worse than not to start
_PROTECTING = (
    "REGISTRY_AUTH",
    "REGISTRY_HTTP_TLS",
    "REGISTRY_PROXY",
    "REGISTRY_STORAGE_DELETE",
    "REGISTRY_STORAGE_MAINTENANCE",
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, where each value came from, and what the operator should know."""

    settings: Settings
    sources: Mapping[str, str]
    warnings: Sequence[str]


class _Loader:
    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def put(self, key: str, value: object, source: str) -> None:
        entry = CATALOGUE.get(key)
        if entry is None:
            near = difflib.get_close_matches(key, CATALOGUE, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self.problems.append(f"{source}: unknown setting {key}{hint}")
            return
        try:
            self.values[key] = entry.parse(value)
        except ValueError as error:
            self.problems.append(f"{source}: {key}: {error}")
        else:
            self.sources[key] = source

    def put_file(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                tree = tomllib.load(file)
        except OSError as error:
            self.problems.append(f"{path}: {error.strerror}")
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            self.problems.append(f"{path}: {error}")
        else:
            self._put_tree(tree, "", str(path))

    def _put_tree(self, tree: Mapping[str, object], prefix: str, source: str) -> None:
        for name, value in tree.items():
            if isinstance(value, dict):
                self._put_tree(value, f"{prefix}{name}.", source)
            else:
                self.put(prefix + name, value, source)

    def put_environment(self, environment: Mapping[str, str]) -> None:
        known = {entry.variable: key for key, entry in CATALOGUE.items()} | _ALIASES
        for variable in sorted(name for name in environment if name.startswith(PREFIX)):
            if variable in known:
                self.put(known[variable], environment[variable], variable)
            elif variable.removesuffix("_FILE") in known:
                self._put_secret(known[variable.removesuffix("_FILE")], Path(environment[variable]), variable)
            elif variable.startswith(_PROTECTING):
                near = difflib.get_close_matches(variable, known, n=1, cutoff=0.8)
                hint = f"; did you mean {near[0]}?" if near else ""
                self.problems.append(
                    f"{variable}: not supported yet; unset it if you do not rely on what it protects{hint}"
                )
            else:
                self.warnings.append(f"{variable} is not a setting and is ignored")

    def _put_secret(self, key: str, path: Path, variable: str) -> None:
        try:
            self.put(key, path.read_text("utf-8").strip(), variable)
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f"{variable}: {path}: {error}")


def load(file: Path | None, environment: Mapping[str, str], flags: Sequence[str]) -> Loaded:
    """Read all sources; `flags` are `key=value`. Raise SettingsError with every problem found."""
    loader = _Loader()
    if file is not None:
        loader.put_file(file)
    loader.put_environment(environment)
    for flag in flags:
        key, separator, value = flag.partition("=")
        if separator:
            loader.put(key, value, "--set")
        else:
            loader.problems.append(f"--set {flag}: expected key=value")
    if loader.problems:
        raise SettingsError(loader.problems)
    return Loaded(_build(Settings(), loader.values, ""), loader.sources, loader.warnings)


def _build(section: T, given: Mapping[str, Any], prefix: str) -> T:
    changes = {}
    for item in fields(section):  # type: ignore[arg-type]
        current = getattr(section, item.name)
        key = prefix + item.name
        if is_dataclass(current):
            changes[item.name] = _build(current, given, f"{key}.")
        elif key in given:
            changes[item.name] = given[key]
    return replace(section, **changes)  # type: ignore[type-var]
