# SPDX-License-Identifier: Apache-2.0
"""Stands in for Mist's library of this name in a worker whose Python does not have it: see mist/compat.py. It holds
what functions import, `mistpy.decorators`, and needs nothing but Python, since Spark's executors import it too."""

__version__ = "1.1.3"  # whose interface this is
