"""`python -m blockyard_operator`."""

import os
import sys

from blockyard_operator.program import main

# Threads of the watches may sit in a request; what had to be given back has been.
os._exit(main(sys.argv[1:], os.environ))
