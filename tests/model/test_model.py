"""The registry agrees with the model, step by step; the long run is `python -m tests.model.run`."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.agreement import Agreement
from tests.model.machine import LifecycleMachine, RequestMachine
from tests.model.site import new_template

EXAMPLES = 60


@pytest.mark.parametrize(("machine", "steps"), [(RequestMachine, 50), (LifecycleMachine, 60)])
def test_the_registry_agrees_with_the_model(machine: type[Agreement], steps: int, tmp_path: Path) -> None:
    machine.template = new_template(tmp_path)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=steps,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
