"""The registry agrees with the model, step by step; the long run is `python -m tests.model.run`."""

from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import RegistryMachine
from tests.model.site import new_template

EXAMPLES = 60


def test_the_registry_agrees_with_the_model(tmp_path: Path) -> None:
    RegistryMachine.template = new_template(tmp_path)
    run_state_machine_as_test(
        RegistryMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
