"""`python -m tidemill.model_server`"""

from tidemill.model_server.main import main

main()
