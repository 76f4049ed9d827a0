# SPDX-License-Identifier: Apache-2.0
"""What functions return, as JSON: encode.py, and what libraries bring beyond Python's own values."""
