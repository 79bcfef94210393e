"""Primitives of the compiled loops: a 64-bit mixer, the high half of a product, a prefetch."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

U = np.uint64  # shifts and products of other integer types would become signed, or floats


@njit(inline="always", cache=True)
def mix(x: np.uint64) -> np.uint64:
    """Mix a 64-bit word: a bijection in which each bit of `x` flips half of the result's bits.

    This is the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
    """
    x = (x ^ (x >> U(30))) * U(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> U(27))) * U(0x94D049BB133111EB)
    return x ^ (x >> U(31))


# An intrinsic gets objects of numba's compiler, which have no public types: hence `Any`.
@intrinsic
def high_product(typing: Any, one: Any, other: Any) -> Any:
    """Return the upper 64 bits of a product; maps a hash onto `range(other)` without bias."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(value, wide) for value in values))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@intrinsic
def prefetch(typing: Any, array: Any, index: Any) -> Any:
    """Request the cache line of `array[index]`, which will be needed soon."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, values[0])
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        address = builder.bitcast(builder.gep(view.data, [values[1]]), byte)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, keep, data = (ir.Constant(word, value) for value in (0, 3, 1))
        builder.call(function, [address, read, keep, data])
        return context.get_dummy_value()

    return types.void(array, index), generate
