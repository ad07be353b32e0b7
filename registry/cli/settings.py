"""`digestry config show|check`."""

import json
from pathlib import Path
from typing import Any

from registry import values
from registry.cli.checks import check_together
from registry.cli.options import AsJson, ConfigFile, Flags, settings
from registry.config import CATALOGUE, Entry, Loaded


def show(*, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> None:
    """Print every setting: its value, where that came from, and the variable that sets it."""
    loaded = settings(config, flags)
    rows = [
        {
            "key": entry.key,
            "value": _plain(entry, _value(loaded, entry.key)),
            "source": loaded.sources.get(entry.key, "default"),
            "variable": entry.variable,
        }
        for entry in CATALOGUE.values()
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    width = max(len(row["key"]) for row in rows)
    for row in rows:
        value = row["value"] if isinstance(row["value"], str) else json.dumps(row["value"])
        print(f"{row['key']:<{width}}  {value:<28}  {row['source']}  ({row['variable']})")


def check(*, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> None:
    """Read the settings as `serve` would, and say what is wrong with them."""
    loaded = settings(config, flags)
    warnings = [*loaded.warnings, *check_together(loaded.settings)]
    if as_json:
        print(json.dumps({"warnings": warnings}))
        return
    for warning in warnings:
        print(f"warning: {warning}")
    print("the settings are good")


def _value(loaded: Loaded, key: str) -> Any:
    value: Any = loaded.settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _plain(entry: Entry, value: Any) -> Any:
    """As it would stand in a file."""
    if isinstance(value, Path):
        return str(value)
    if entry.parse is values.secret:
        return "(secret)" if value else ""
    if entry.parse in (values.duration, values.token_lifetime):
        return values.written_duration(value)
    if entry.parse is values.size:
        return values.written_size(value)
    return list(value) if isinstance(value, tuple) else value
