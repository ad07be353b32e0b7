"""The table of planted faults fits the source; planting them all takes too long for every run."""

from collections import Counter

import pytest

from tests.crash.mutations import MUTATIONS, Mutation
from tests.crash.planted import ROOT


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_fault_has_its_place_in_the_source(mutation: Mutation) -> None:
    for change in mutation.changes:
        assert (ROOT / change.file).read_text().count(change.old) == 1
        assert change.new != change.old


def test_names_are_unique() -> None:
    assert max(Counter(mutation.name for mutation in MUTATIONS).values()) == 1
