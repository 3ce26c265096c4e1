# SPDX-License-Identifier: MIT
"""What `python -m pycgroup` runs."""

import sys

from .cli import main

sys.exit(main())
