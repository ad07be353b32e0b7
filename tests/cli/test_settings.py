"""`digestry config`: as an operator sees it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from registry.cli.checks import check_together
from registry.cli.serve import _read
from registry.config import HttpSettings, Settings, SettingsError, load


def digestry(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "registry", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=60)


def test_values_are_shown_as_they_stand_in_a_file(tmp_path: Path) -> None:
    shown = digestry(tmp_path, "config", "show", "--json", "--set", "gc.lease=120m")
    values = {row["key"]: row["value"] for row in json.loads(shown.stdout)}
    assert (values["gc.lease"], values["uploads.expiry"]) == ("2h", "1d")
    assert (values["storage.delete.enabled"], values["tags.immutable"]) == (True, [])
    text = digestry(tmp_path, "config", "show").stdout
    assert [line.split()[:3] for line in text.splitlines() if line.startswith("storage.delete")] == [
        ["storage.delete.enabled", "true", "default"]
    ]


def test_check_refuses_what_serve_would_refuse(tmp_path: Path) -> None:
    refused = digestry(tmp_path, "config", "check", "--set", "http.addr=0.0.0.0:5000", "--set", "auth.mode=open")
    assert refused.returncode == 2
    assert "set auth.mode=required, or open-anywhere if that is meant" in refused.stderr
    meant = digestry(tmp_path, "config", "check", "--set", "http.addr=:5000", "--set", "auth.mode=open-anywhere")
    assert meant.returncode == 0
    assert "everybody who reaches :5000 may push and delete" in meant.stdout


def test_fsck_says_where_it_looked(tmp_path: Path) -> None:
    done = digestry(tmp_path, "fsck")
    assert done.returncode == 1
    assert f"there is no database at {tmp_path}/data/registry.db" in done.stderr


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    shown = digestry(tmp_path, "config", "show", "--set", "auth.adminsecret=canary-canary")
    assert "(secret)" in shown.stdout
    assert "canary" not in shown.stdout + shown.stderr


def test_passwords_on_plain_http_are_warned_of(tmp_path: Path) -> None:
    done = digestry(tmp_path, "config", "check", "--set", "auth.mode=required", "--set", "auth.plainhttp=true")
    assert done.returncode == 0
    assert "passwords are taken over plain HTTP" in done.stdout


@pytest.mark.parametrize(("time", "warned"), [("59m", True), ("1h", False)])
@pytest.mark.parametrize("key", ["gc.lease", "gc.trash"])
def test_times_that_make_garbage_of_what_is_still_needed_are_warned_of(key: str, time: str, *, warned: bool) -> None:
    warnings = check_together(load(None, {}, [f"{key}={time}", "gc.interval=1s"]).settings)
    assert [warning.partition(":")[0] for warning in warnings] == ([f"{key} is {time}"] if warned else [])


@pytest.mark.parametrize(("mode", "told"), [("auto", "open"), ("open", "open"), ("open-anywhere", "open-anywhere")])
def test_a_file_that_nobody_is_compared_with_is_warned_of(tmp_path: Path, mode: str, told: str) -> None:
    flags = ["--set", f"auth.mode={mode}", "--set", "auth.htpasswd.path=users"]
    done = digestry(tmp_path, "config", "check", *flags)
    assert done.returncode == 0
    assert f"auth.htpasswd.path is not asked: auth.mode is {told}\n" in done.stdout


def test_the_mode_htpasswd_needs_its_file(tmp_path: Path) -> None:
    refused = digestry(tmp_path, "config", "check", "--set", "auth.mode=htpasswd")
    assert refused.returncode == 2
    assert "auth.htpasswd.path" in refused.stderr


@pytest.mark.parametrize("key", ["http.host=https://registry.example.com", 'http.trustedproxies=["127.0.0.1"]'])
def test_open_mode_behind_a_proxy_is_refused(tmp_path: Path, key: str) -> None:
    refused = digestry(tmp_path, "config", "check", "--set", key, "--set", "auth.mode=open")
    assert refused.returncode == 2
    assert "set auth.mode=required" in refused.stderr


def test_an_address_in_the_clear_is_refused_where_people_log_in(tmp_path: Path) -> None:
    clear = ("--set", "http.host=http://registry.example.com")
    refused = digestry(tmp_path, "config", "check", *clear)
    assert (refused.returncode, "use https" in refused.stderr) == (2, True)
    told = digestry(tmp_path, "config", "check", *clear, "--set", "auth.plainhttp=true")
    assert told.returncode == 0


def test_a_reload_is_judged_by_the_address_that_stays(tmp_path: Path) -> None:
    """Else a file for loopback would open the socket that is bound to the network."""
    file = tmp_path / "config.toml"
    file.write_text('[http]\naddr = "127.0.0.1:5000"\n[auth]\nmode = "open"\n')
    running = Settings(http=HttpSettings(addr=":5000"))
    with pytest.raises(SettingsError, match=r"auth\.mode is open"):
        _read(file, (), running)


def test_a_missing_htpasswd_file_is_told_before_the_start(tmp_path: Path) -> None:
    flags = ("--set", "auth.mode=htpasswd", "--set", "auth.htpasswd.path=nowhere")
    refused = digestry(tmp_path, "config", "check", *flags)
    assert (refused.returncode, "there is no file nowhere" in refused.stderr) == (2, True)
