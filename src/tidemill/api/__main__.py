"""`python -m tidemill.api`"""

from tidemill.api.main import main

main()
