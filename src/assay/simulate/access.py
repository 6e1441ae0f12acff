"""How compiled code reads a table: as the record at an index, found from the address of a list of the addresses of all tables.

A record is then a load and an addition away, and functions pass one number instead of all arrays.
"""

from collections.abc import Callable
from typing import Any

from numba import from_dtype, types
from numba.extending import intrinsic

from assay.simulate.layout import TABLES

Record = Any  # a record of a table: mypy cannot know its fields
_intrinsic: Any = intrinsic


def table(name: str) -> Callable[[int, int], Record]:
    """What gives, within compiled code, the record of a table at an index; neither is checked."""
    record, size, place = from_dtype(TABLES[name]), TABLES[name].itemsize, list(TABLES).index(name)

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = context.get_value_type(types.int64)
        addresses = builder.inttoptr(arguments[0], word.as_pointer())
        first = builder.load(builder.gep(addresses, [word(place)]))
        first.set_metadata("invariant.load", builder.module.add_metadata([]))  # addresses never change: no need to load them again
        return builder.inttoptr(builder.add(first, builder.mul(arguments[1], word(size))), context.get_value_type(record))

    @_intrinsic
    def at(typingctx: Any, m: Any, index: Any) -> Any:
        return record(types.int64, types.int64), emit

    found: Callable[[int, int], Record] = at
    return found


def _emit_bits(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.bitcast(arguments[0], context.get_value_type(types.int64))


@_intrinsic
def bits(typingctx: Any, value: Any) -> Any:
    """The 64 bits of a float as an integer, within compiled code."""
    return types.int64(types.float64), _emit_bits
