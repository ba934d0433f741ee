"""`python -m tidemill.worker`."""

from tidemill.worker.main import main

if __name__ == "__main__":
    main()
