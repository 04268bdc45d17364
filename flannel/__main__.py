"""``python -m flannel``: flanneld."""

import sys

from flannel.command import main

sys.exit(main())
