import sys

from pinxit.cli import main

sys.exit(main())
