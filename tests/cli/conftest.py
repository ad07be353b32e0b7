"""What tests of commands share."""

from pathlib import Path

import pytest

from tests.support.commands import Commands


@pytest.fixture
def digestry(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(tmp_path, capsys, monkeypatch)
