"""`python -m tidemill.platform`"""

from tidemill.platform.main import main

main()
