"""A vector of the processor as a type of numba: every lane takes the same instructions.

The loop vectoriser treats the rest of a loop apart, rounds it differently, and uses half of a
512-bit register. Vectors that are written down do neither: a row's result depends neither on its
place nor on its neighbours.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

__all__ = [
    "REGISTERS",
    "Lanes",
    "binary_exponent",
    "fill",
    "fma",
    "is_single",
    "lanes_of",
    "larger",
    "load",
    "power_of_two",
    "smaller",
    "square_root",
    "store",
    "vector_type",
    "where_less",
]


def _registers() -> tuple[int, int]:
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 32
    if features.get("avx2"):
        return 32, 16
    return 16, 32 if features.get("neon") else 16


REGISTER_BYTES, REGISTERS = _registers()
"""Size and number of this processor's vector registers."""


def lanes_of(itemsize: int) -> int:
    """Numbers of ``itemsize`` bytes in a register."""
    return REGISTER_BYTES // itemsize


_DOUBLE = 64, 52, 0x3FE6A09E667F3BCD
"""Bits, those of the mantissa, and √½ as an integer."""


class Lanes(types.Type):  # type: ignore[misc]
    """One register full of ``dtype``."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


def vector_type(dtype: Any) -> ir.VectorType:
    """LLVM's type of a register full of a numba float."""
    element = ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()
    return ir.VectorType(element, lanes_of(dtype.bitwidth // 8))


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, vector_type(kind.dtype))


def splat(builder: Any, scalar: Any, vector: Any) -> Any:
    """Emit a vector of one value."""
    undefined = ir.Constant(vector, ir.Undefined)
    index = ir.IntType(32)
    first = builder.insert_element(undefined, scalar, ir.Constant(index, 0))
    return builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(index, vector.count), [0] * vector.count)
    )


def call_vector(builder: Any, name: str, vector: Any, *values: Any) -> Any:
    """Emit a call of LLVM's elementwise function ``name``."""
    suffix = "f32" if isinstance(vector.element, ir.FloatType) else "f64"
    kind = ir.FunctionType(vector, [vector] * len(values))
    function = cgutils.get_or_insert_function(
        builder.module, kind, f"llvm.{name}.v{vector.count}{suffix}"
    )
    return builder.call(function, values)


def place(context: Any, builder: Any, kind: Any, array: Any, offset: Any) -> Any:
    """Emit the address of a vector ``offset`` numbers into an array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(
        builder.gep(data, [offset]), vector_type(kind.dtype).as_pointer(), name="lanes"
    )


@intrinsic  # type: ignore[untyped-decorator]
def load(_: Any, array: Any, offset: Any) -> Any:
    """Read a vector ``offset`` numbers into a contiguous array."""
    result = Lanes(array.dtype)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address = place(context, builder, signature.args[0], values[0], values[1])
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return result(array, types.int64), emit


@intrinsic  # type: ignore[untyped-decorator]
def store(_: Any, array: Any, offset: Any, vector: Any) -> Any:
    """Write a vector ``offset`` numbers into a contiguous array."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address = place(context, builder, signature.args[0], values[0], values[1])
        builder.store(values[2], address, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, vector), emit


@intrinsic  # type: ignore[untyped-decorator]
def fill(_: Any, like: Any, value: Any) -> Any:
    """Make a vector of one value, of the type of ``like``."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        scalar = context.cast(builder, values[1], types.float64, like.dtype)
        return splat(builder, scalar, vector_type(like.dtype))

    return like(like, types.float64), emit


@intrinsic  # type: ignore[untyped-decorator]
def is_single(_: Any, vector: Any) -> Any:
    """Tell at compile time whether the lanes are of 32 bits."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return cgutils.true_bit if vector.dtype.bitwidth == 32 else cgutils.false_bit

    return types.boolean(vector), emit


@intrinsic  # type: ignore[untyped-decorator]
def fma(_: Any, a: Any, b: Any, c: Any) -> Any:
    """``a · b + c``, rounded once where the processor can."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return call_vector(builder, "fmuladd", vector_type(a.dtype), *values)

    return a(a, b, c), emit


@intrinsic  # type: ignore[untyped-decorator]
def square_root(_: Any, a: Any) -> Any:
    """Square root of every lane."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return call_vector(builder, "sqrt", vector_type(a.dtype), *values)

    return a(a), emit


@intrinsic  # type: ignore[untyped-decorator]
def where_less(_: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """Take ``yes`` where ``a < b``, else ``no``, which NaN takes too."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", values[0], values[1]), *values[2:])

    return a(a, b, yes, no), emit


@intrinsic  # type: ignore[untyped-decorator]
def larger(_: Any, a: Any, floor: Any) -> Any:
    """Larger of both; NaN in ``a`` stays."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        below = builder.fcmp_ordered("<", values[0], values[1])
        return builder.select(below, values[1], values[0])

    return a(a, floor), emit


@intrinsic  # type: ignore[untyped-decorator]
def smaller(_: Any, a: Any, ceiling: Any) -> Any:
    """Smaller of both; NaN in ``a`` stays."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        above = builder.fcmp_ordered(">", values[0], values[1])
        return builder.select(above, values[1], values[0])

    return a(a, ceiling), emit


@intrinsic  # type: ignore[untyped-decorator]
def power_of_two(_: Any, exponent: Any) -> Any:
    """2ⁿ for lanes that hold whole numbers n within the range of normal numbers."""
    bits, mantissa, offset = (32, 23, 127) if exponent.dtype.bitwidth == 32 else (64, 52, 1023)

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vector = vector_type(exponent.dtype)
        whole = ir.VectorType(ir.IntType(bits), vector.count)
        number = builder.fptosi(values[0], whole)
        biased = builder.add(number, ir.Constant(whole, [offset] * vector.count))
        shifted = builder.shl(biased, ir.Constant(whole, [mantissa] * vector.count))
        return builder.bitcast(shifted, vector)

    return exponent(exponent), emit


@intrinsic  # type: ignore[untyped-decorator]
def binary_exponent(_: Any, a: Any) -> Any:
    """Whole n with a / 2ⁿ from √½ to √2, for lanes that hold normal positive numbers."""
    bits, mantissa, root = (32, 23, 0x3F3504F3) if a.dtype.bitwidth == 32 else _DOUBLE

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vector = vector_type(a.dtype)
        whole = ir.VectorType(ir.IntType(bits), vector.count)
        number = builder.bitcast(values[0], whole)
        above = builder.sub(number, ir.Constant(whole, [root] * vector.count))
        shifted = builder.ashr(above, ir.Constant(whole, [mantissa] * vector.count))
        return builder.sitofp(shifted, vector)

    return a(a), emit


def _arithmetic(symbol: Callable[..., Any], method: str) -> None:
    @intrinsic  # type: ignore[untyped-decorator]
    def apply(_: Any, a: Any, b: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return getattr(builder, method)(*values)

        return a(a, b), emit

    @overload(symbol)  # type: ignore[untyped-decorator]
    def of_lanes(a: Any, b: Any) -> Any:
        def implementation(a: Any, b: Any) -> Any:
            return apply(a, b)

        return implementation if isinstance(a, Lanes) and isinstance(b, Lanes) else None


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")
