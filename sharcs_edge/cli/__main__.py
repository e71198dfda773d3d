"""`python -m sharcs_edge.cli`: for launchers that start modules, such as `accelerate launch`."""

import sys

from sharcs_edge.cli import main

sys.exit(main())
