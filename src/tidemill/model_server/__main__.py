"""`python -m tidemill.model_server`"""

from tidemill.kit import startup

startup.begin()  # before the imports, which are most of the start; over when models are loaded

from tidemill.model_server.main import main  # noqa: E402

main()
