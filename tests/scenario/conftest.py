# SPDX-License-Identifier: Apache-2.0
from support.gateway_fixtures import c_mist, plain_mist, plain_mist_for_module  # noqa: F401
