"""What was kept long enough: old jobs and logs, studies of ended trainings, silent model servers, stored answers."""
