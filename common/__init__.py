"""What more than one of the four papers needs.

Nothing is imported here, so that ``import common`` costs nothing and the pillars can
ask whose ``common`` they have got (see :data:`__suite__`).
"""

__suite__ = "tf-separation-suite"
__version__ = "0.1.0"
