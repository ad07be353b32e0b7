"""`digestry config show|check`."""

import json
from pathlib import Path
from typing import Any

from registry.cli.options import AsJson, ConfigFile, Flags, settings
from registry.config import CATALOGUE, Loaded
from registry.tls import tls_context, tls_warning


def show(*, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> None:
    """Print every setting: its value, where that came from, and the variable that sets it."""
    loaded = settings(config, flags)
    rows = [
        {
            "key": entry.key,
            "value": _plain(_value(loaded, entry.key)),
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
        print(f"{row['key']:<{width}}  {row['value']!s:<28}  {row['source']}  ({row['variable']})")


def check(*, config: ConfigFile = None, flags: Flags = (), as_json: AsJson = False) -> None:
    """Read the settings as `serve` would, and say what is wrong with them."""
    loaded = settings(config, flags)
    warnings = list(loaded.warnings)
    context = tls_context(loaded.settings)
    if context is not None and (warning := tls_warning(context, loaded.settings)):
        warnings.append(warning)
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


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
