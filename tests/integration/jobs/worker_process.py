"""A worker with the tests' tasks, as its own process: `python -m tests.integration.jobs.worker_process [CRON]`."""

import sys

from tests.integration.jobs.kinds import EFFECT, TASKS, Payload
from tidemill.jobs.schedules import Schedule
from tidemill.kit.logging import configure_logging
from tidemill.settings.sources import load_settings
from tidemill.worker.main import run

if __name__ == "__main__":
    settings = load_settings()
    configure_logging("worker", settings.environment, settings.log_level)
    schedules = [Schedule("often", cron, EFFECT, Payload()) for cron in sys.argv[1:]]
    sys.exit(run(settings, TASKS, schedules))
