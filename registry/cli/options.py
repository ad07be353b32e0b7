"""Options that commands share."""

import os
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from registry.config import Loaded, load

CONFIG_VARIABLE = "REGISTRY_CONFIGURATION_PATH"

ConfigFile: TypeAlias = Annotated[
    Path | None, Parameter(name="--config", env_var=CONFIG_VARIABLE, help="TOML file with settings.")
]
Flags: TypeAlias = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set",
        negative="",
        help="A setting as key=value, such as http.addr=127.0.0.1:5001; `config show` lists them.",
    ),
]
Repository: TypeAlias = Annotated[str, Parameter(name="repository", help="A repository's name, such as team/app.")]
DigestText: TypeAlias = Annotated[str, Parameter(name="digest", help="A digest, or at least 8 hex digits of it.")]
Yes: TypeAlias = Annotated[bool, Parameter(name="--yes", negative="", help="Do not ask.")]
AsJson: TypeAlias = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]


def settings(config: Path | None, flags: tuple[str, ...]) -> Loaded:
    """Settings of all sources; raise SettingsError."""
    environment = {name: value for name, value in os.environ.items() if name != CONFIG_VARIABLE}
    return load(config, environment, flags)
