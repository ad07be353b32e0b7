"""What a server asks of its machine."""

from pathlib import Path

import pytest

from registry import host
from registry.host import HostError

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:30 / /srv rw,relatime shared:7 - {kind} server:/export rw
31 30 254:1 / /srv/local\\040disk rw - xfs /dev/vdb rw
"""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs"])
def test_s13_a_database_on_a_network_is_refused(tmp_path: Path, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(kind=kind))
    with pytest.raises(HostError, match=rf"/srv/data/registry.db lies on {kind}: .*Put database.url on a local disk"):
        host.check_local(Path("/srv/data/registry.db"), mounts)
    host.check_local(Path("/srv/local disk/registry.db"), mounts)
    host.check_local(Path("/var/registry.db"), mounts)
    host.check_local(Path("/srvother/registry.db"), mounts)


def test_s13_this_machine_s_own_mounts_can_be_read(tmp_path: Path) -> None:
    assert host._file_system(tmp_path, Path("/proc/self/mountinfo"))


def test_a_system_without_mountinfo_is_trusted(tmp_path: Path) -> None:
    host.check_local(tmp_path, tmp_path / "missing")


def test_a_folder_that_can_t_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="can't be made: Not a directory"):
        host.make_ours(tmp_path / "file" / "data")


def test_workers_are_four_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    for cpus, workers in ((1, 1), (2, 2), (64, 4)):
        monkeypatch.setattr(host, "usable_cpus", lambda cpus=cpus: cpus)
        assert host.default_workers() == workers
