"""Settings: their sources, their order, and all problems at once."""

import tomllib
from pathlib import Path

import pytest

from registry.config import CATALOGUE, Settings, SettingsError, auth_mode, load

EXAMPLE = Path(__file__).parent.parent / "config.example.toml"


def problems(*flags: str, file: Path | None = None, **environment: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load(file, environment, flags)
    return list(raised.value.problems)


def keys(tree: dict[str, object], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in tree.items():
        found |= keys(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name}
    return found


def test_the_example_is_every_setting_at_its_default() -> None:
    assert load(EXAMPLE, {}, ()).settings == Settings()
    assert keys(tomllib.loads(EXAMPLE.read_text())) == set(CATALOGUE)


def test_the_example_explains_and_names_each_variable() -> None:
    text = EXAMPLE.read_text()
    assert [entry.key for entry in CATALOGUE.values() if f"# {entry.about} ({entry.variable})" not in text] == []


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[http]\naddr = ":1"\nhost = "http://file"\n[uploads]\nexpiry = "1h"\n')
    loaded = load(file, {"REGISTRY_HTTP_ADDR": ":2", "REGISTRY_HTTP_HOST": "http://variable"}, ["http.addr=:3"])
    assert (loaded.settings.http.addr, loaded.settings.http.host) == (":3", "http://variable")
    assert loaded.settings.uploads.expiry == 3_600_000
    assert loaded.sources == {
        "http.addr": "--set",
        "http.host": "REGISTRY_HTTP_HOST",
        "uploads.expiry": str(file),
    }


def test_all_problems_are_told_at_once_with_their_source(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[http]\nadr = ":1"\n[log]\nlevel = "loud"\n')
    found = problems("uploads.expiry=soon", "nonsense", file=file, REGISTRY_STORAGE="s3")
    assert [problem.split(":")[0] for problem in found] == [
        str(file),
        str(file),
        "REGISTRY_STORAGE",
        "--set",
        "--set nonsense",
    ]
    assert "did you mean http.addr?" in found[0]


@pytest.mark.parametrize(
    "variable",
    [
        "REGISTRY_AUTH",
        "REGISTRY_AUTH_TOKEN_REALM",
        "REGISTRY_AUTH_SILLY_SERVICE",
        "REGISTRY_HTTP_TLS_CLIENTCAS",
        "REGISTRY_PROXY_REMOTEURL",
        "REGISTRY_STORAGE_DELETE_ENABLE",
        "REGISTRY_STORAGE_MAINTENANCE_READONLY",
    ],
)
def test_nobody_is_protected_by_a_word_that_is_ignored(variable: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(None, {variable: "x"}, ())
    assert [problem.split(":")[0] for problem in raised.value.problems] == [variable]


def test_other_unknown_variables_are_warned_of() -> None:
    assert load(None, {"REGISTRY_HTTP_SECRET": "x", "PATH": "x"}, ()).warnings == [
        "REGISTRY_HTTP_SECRET is not a setting and is ignored"
    ]


def test_a_value_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("sqlite:////data/x.db\n")
    assert load(None, {"REGISTRY_DATABASE_URL_FILE": str(secret)}, ()).settings.database.path == Path("/data/x.db")
    assert problems(REGISTRY_DATABASE_URL_FILE=str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("tags.immutable", '["v*", "stable"]', ("v*", "stable")),
        ("storage.delete.enabled", "false", False),
        ("gc.lease", "90s", 90_000),
        ("auth.token.expiry", "60s", 60_000),
        ("auth.htpasswd.realm", "Our registry", "Our registry"),
        ("ratelimit.failures", "5/hour", "5/hour"),
        ("ratelimit.address", "", ""),
        ("ratelimit.uploads", "3", 3),
        ("gc.lease", "5ms", 5),
        ("scrub.rate", "0", 0),
        ("scrub.rate", "1536KiB", 1_572_864),
        ("scrub.rate", "2TiB", 2_199_023_255_552),
        ("http.addr", "[::1]:5000", "[::1]:5000"),
        ("http.addr", "unix:/run/x", "unix:/run/x"),
        ("http.host", "https://registry.example:8443", "https://registry.example:8443"),
        ("http.tls.key", "/etc/key.pem", "/etc/key.pem"),
        ("http.trustedproxies", '["10.0.0.0/8", "::1", "unix"]', ("10.0.0.0/8", "::1", "unix")),
    ],
)
def test_values_in_text(key: str, text: str, value: object) -> None:
    found: object = load(None, {}, [f"{key}={text}"]).settings
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value


@pytest.mark.parametrize(
    "flag",
    [
        "gc.lease=0s",
        "auth.token.expiry=59s",
        "auth.token.expiry=2h",
        'auth.htpasswd.realm=a"b',
        "auth.adminsecret=short",
        "auth.mode=silly",
        "ratelimit.failures=ten",
        "ratelimit.failures=0/minute",
        "ratelimit.uploads=0",
        "gc.lease=1",
        "gc.lease=1w",
        "scrub.rate=16",
        "scrub.rate=16MB",
        "scrub.rate=-1MiB",
        "scrub.rate=1.5MiB",
        "http.addr=5000",
        "http.addr=host:port",
        "http.addr=127.0.0.1:65536",
        "http.host=registry.example",
        "http.host=http://x/path",
        "http.tls.minimumtls=tls1.1",
        'http.trustedproxies=["10.0.0.0/8", "proxy.example"]',
        "http.trustedproxies=10.0.0.1",
        "storage.delete.enabled=yes",
        "tags.immutable=v*",
        "tags.immutable=[1]",
        "database.url=mysql://x",
        "storage.filesystem.rootdirectory=",
    ],
)
def test_values_that_are_refused(flag: str) -> None:
    assert problems(flag)[0].startswith(f"--set: {flag.partition('=')[0]}: expected")


@pytest.mark.parametrize(
    ("flags", "mode"),
    [
        ([], "open"),
        (["http.addr=unix:/run/x"], "open"),
        (["http.addr=[::1]:5000"], "open"),
        (["http.addr=:5000"], "required"),
        (["http.addr=192.0.2.1:5000"], "required"),
        (["http.addr=:5000", "auth.mode=open-anywhere"], "open-anywhere"),
        (["auth.mode=required"], "required"),
        (['http.trustedproxies=["127.0.0.1"]'], "required"),
        (["http.host=https://registry.example.com"], "required"),
        (["http.host=http://localhost:5000"], "open"),
    ],
)
def test_off_loopback_everybody_must_log_in(flags: list[str], mode: str) -> None:
    assert auth_mode(load(None, {}, flags).settings) == mode


def test_the_official_image_s_words_for_htpasswd() -> None:
    words = {
        "REGISTRY_AUTH": "htpasswd",
        "REGISTRY_AUTH_HTPASSWD_REALM": "Registry Realm",
        "REGISTRY_AUTH_HTPASSWD_PATH": "/auth/htpasswd",
    }
    auth = load(None, words, ()).settings.auth
    assert (auth.mode, auth.htpasswd.realm, auth.htpasswd.path) == ("htpasswd", "Registry Realm", "/auth/htpasswd")


def test_a_mistyped_word_of_access_is_named() -> None:
    assert problems(REGISTRY_AUTH_MOD="required")[0].endswith("did you mean REGISTRY_AUTH_MODE?")
