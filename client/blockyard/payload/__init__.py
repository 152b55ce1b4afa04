"""Everything of Blockyard that pickles or unpickles: values, calls, functions, results and errors of users.

This package is the only home of `pickle` and `cloudpickle`. The interchange never imports it: what it carries is
opaque there. Loading runs code, so only workers and clients load, and only what came over an authenticated link.

`layout` says how a payload looks as bytes, `values` is the hot path, `dependencies` replaces futures inside arguments
by markers, `functions` registers functions once, `outcomes` carries results and exceptions, `diagnosis` finds out,
after a failure only, which part of an object could not be pickled.
"""

from __future__ import annotations

from blockyard.parts import Packed, Parts, packed_bytes, packed_size
from blockyard.payload.dependencies import Dependency, reduce_dependency
from blockyard.payload.diagnosis import name_of
from blockyard.payload.functions import FunctionCache, Registered, dump_function, function_id, load_function
from blockyard.payload.outcomes import ErrorRecord, dump_error, dump_result, load_error, type_names
from blockyard.payload.values import dump_call, dump_items, dump_value, load_call, load_value

__all__ = [
    "Dependency",
    "ErrorRecord",
    "FunctionCache",
    "Packed",
    "Parts",
    "Registered",
    "dump_call",
    "dump_error",
    "dump_function",
    "dump_items",
    "dump_result",
    "dump_value",
    "function_id",
    "load_call",
    "load_error",
    "load_function",
    "load_value",
    "packed_bytes",
    "packed_size",
    "reduce_dependency",
    "name_of",
    "type_names",
]
