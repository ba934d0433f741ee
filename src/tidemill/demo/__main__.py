"""`python -m tidemill.demo`"""

from tidemill.demo.main import main

main()
