"""Code that more than one of the four packages uses.

The package itself imports nothing heavy, so that ``import common`` is fast and the
other packages can check that it is the one of this suite (see :data:`__suite__`).
"""

from common.startup import (
    prepare_tensorflow,
    replace_closed_streams,
    shorten_interrupts,
)

__suite__ = "tf-separation-suite"
__version__ = "0.1.0"

replace_closed_streams()
shorten_interrupts()
prepare_tensorflow()
