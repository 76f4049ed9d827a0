# SPDX-License-Identifier: Apache-2.0
"""From the JSON arguments of a job to the values its function takes.

The gateway has checked the arguments against the signature it knows; the file may be a newer one, so everything is
checked again here. Nothing is coerced from strings but what JSON has no type for. null and absent are the same: the
default if there is one, None for an Optional, else the argument is missing. Extra names are left out, unless the
function takes **kwargs: then they arrive as they are. What each annotation takes is in kinds.py."""

from mist.kinds import convert_fields


def convert(function, arguments):
    """The values by name, for Function.call(). Raises a Refusal that names the argument."""
    values = convert_fields(function.parameters, arguments, "")
    if function.takes_extra:
        known = {p.name for p in function.parameters}
        values.update((name, value) for name, value in arguments.items()
                      if name not in known and not (function.context and name == function.context.name))
    return values
