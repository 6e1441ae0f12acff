"""How compiled code reads a table: as the record at an index, found from the address of a list of the addresses of all tables.

A record is then a load and an addition away, and functions pass one number instead of all arrays.
"""

from collections.abc import Callable, Mapping
from typing import Any

from numba import from_dtype, njit, types
from numba.extending import intrinsic

from assay.simulate.layout import TABLES

Function = Callable[..., Any]
Record = Any  # a record of a table: mypy cannot know its fields
_intrinsic: Any = intrinsic


def table(name: str) -> Callable[[int, int], Record]:
    """What gives, within compiled code, the record of a table at an index; neither is checked."""
    record, size = from_dtype(TABLES[name]), TABLES[name].itemsize

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        place = builder.mul(arguments[1], context.get_value_type(types.int64)(size))
        return builder.inttoptr(builder.add(_first(name, context, builder, arguments[0]), place), context.get_value_type(record))

    def at(_typingctx: Any, _m: Any, _index: Any) -> Any:
        return record(types.int64, types.int64), emit

    found: Callable[[int, int], Record] = _intrinsic(at)
    return found


def single(name: str) -> Callable[[int], Record]:
    """What gives, within compiled code, the record of a table that has one."""
    record = from_dtype(TABLES[name])

    def emit(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(_first(name, context, builder, arguments[0]), context.get_value_type(record))

    def one(_typingctx: Any, _m: Any) -> Any:
        return record(types.int64), emit

    found: Callable[[int], Record] = _intrinsic(one)
    return found


def _first(name: str, context: Any, builder: Any, m: Any) -> Any:
    """Address of a table's first record."""
    word = context.get_value_type(types.int64)
    first = builder.load(builder.gep(builder.inttoptr(m, word.as_pointer()), [word(list(TABLES).index(name))]))
    first.set_metadata("invariant.load", builder.module.add_metadata([]))  # addresses never change: no need to load them again
    return first


def _emit_bits(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    return builder.bitcast(arguments[0], context.get_value_type(types.int64))


def _bits(_typingctx: Any, _value: Any) -> Any:
    return types.int64(types.float64), _emit_bits


bits: Callable[[float], int] = _intrinsic(_bits)
"""The 64 bits of a float as an integer, within compiled code."""


def compiled(functions: Mapping[str, Function]) -> dict[str, Function]:
    """Functions that call each other, by name, compiled for the types that their hints say and no others.

    Without that each would be compiled again for every mix of widths of integers that it is called with. Records have many types:
    functions that take one are compiled as they are called.
    """
    made: dict[str, Any] = {name: _njit(error_model="numpy", **_UNWRAPPED)(function) for name, function in functions.items()}
    for name, function in made.items():
        function.py_func.__globals__[name] = function
    done: set[str] = set()
    for name in made:
        _settle(name, made, done)
    return made


def _settle(name: str, made: Mapping[str, Any], done: set[str]) -> None:
    """Compile a function after those that it calls."""
    if name in done:
        return
    done.add(name)
    function = made[name].py_func
    for called in function.__code__.co_names:
        if called in made:
            _settle(called, made, done)
    hints = [hint for parameter, hint in function.__annotations__.items() if parameter != "return"]
    if all(hint in _TYPES for hint in hints):
        made[name].compile(tuple(_TYPES[hint] for hint in hints))
        made[name].disable_compile()


_njit: Any = njit  # its type hints leave out the options about wrappers
_UNWRAPPED = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # for Python, which does not call them
_TYPES = {int: types.int64, float: types.float64, bool: types.boolean}
