"""Bits that flip on the disk."""

from pathlib import Path

from tests.faults.flipped_bits import campaign


async def test_s04_sixty_flips_are_found_of_sixty(tmp_path: Path) -> None:
    summary = await campaign(tmp_path, 60, "ci")
    assert (summary["found"], summary["problems"]) == (60, []), summary
