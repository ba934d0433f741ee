"""`python -m tidemill.admin`"""

from tidemill.admin.main import main

main()
