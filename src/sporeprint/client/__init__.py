"""The Python client: `Client` and `AsyncClient`, and the values that they return and raise."""

from sporeprint.client.client import *  # noqa: F403 -- its __all__ is the package's
from sporeprint.client.client import __all__ as __all__
