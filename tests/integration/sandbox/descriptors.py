"""`python -m tests.integration.sandbox.descriptors N`: prints which descriptors it has."""

import os

if __name__ == "__main__":
    found = [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]  # noqa: PTH110, PTH208
    print(*sorted(map(int, found)))  # noqa: T201
