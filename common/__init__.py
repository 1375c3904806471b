"""What more than one of the four papers needs.

Nothing heavy is imported here, so that ``import common`` costs nothing and the pillars
can ask whose ``common`` they have got (see :data:`__suite__`).
"""

from common.startup import prepare_tensorflow

__suite__ = "tf-separation-suite"
__version__ = "0.1.0"

prepare_tensorflow()
