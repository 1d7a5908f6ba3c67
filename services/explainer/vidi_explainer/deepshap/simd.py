"""Vectors of 16 floats for compiled loops: what numba has no type for, as LLVM instructions.

A kernel's inner body is written once over `Vector` values and becomes one numba intrinsic by `body`. LLVM turns 16
lanes into whatever the processor has (one AVX-512 register, two of AVX2, four of SSE or NEON), so that it runs
everywhere and does not depend on whether a compiler manages to vectorise a loop over three dozen pointers by itself.

Addresses are byte addresses (int64). Callers own the bounds: nothing here checks them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

LANES = 16
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_WORDS = ir.VectorType(ir.IntType(32), LANES)
_HALVES = ir.VectorType(ir.IntType(16), LANES)
_INT64 = ir.IntType(64)


class _BFloat(ir.Type):  # type: ignore[misc]  # llvmlite has no types
    """LLVM's bfloat, which llvmlite does not name: a conversion is one instruction where the processor has it."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_BFLOATS = ir.VectorType(_BFloat(), LANES)
# A product and a sum may become one instruction with one rounding; sums are never reordered.
_FUSE = ("contract",)


class Vector:
    """16 floats in a register, with the operators that kernels need."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value

    def _of(self, other: Vector | float) -> Any:
        return other.value if isinstance(other, Vector) else ir.Constant(_FLOATS, [float(other)] * LANES)

    def _make(self, value: Any) -> Vector:
        return Vector(self.builder, value)

    def __add__(self, other: Vector | float) -> Vector:
        return self._make(self.builder.fadd(self.value, self._of(other), flags=_FUSE))

    def __sub__(self, other: Vector | float) -> Vector:
        return self._make(self.builder.fsub(self.value, self._of(other), flags=_FUSE))

    def __mul__(self, other: Vector | float) -> Vector:
        return self._make(self.builder.fmul(self.value, self._of(other), flags=_FUSE))

    __rmul__ = __mul__

    def __truediv__(self, other: Vector | float) -> Vector:
        return self._make(self.builder.fdiv(self.value, self._of(other)))

    def compare(self, operator: str, other: Vector | float) -> Any:
        """Return a mask for `select`; `operator` is "<", ">", "==" and so on."""
        return self.builder.fcmp_ordered(operator, self.value, self._of(other))

    def select(self, mask: Any, other: Vector | float) -> Vector:
        """Return self where the mask holds, else `other`."""
        return self._make(self.builder.select(mask, self.value, self._of(other)))

    def positive(self) -> Vector:
        """Return max(self, 0)."""
        return self.select(self.compare(">", 0.0), 0.0)

    def maximum(self, other: Vector) -> Vector:
        """Return the larger of both, lane by lane."""
        return self.select(self.compare(">", other), other)

    def magnitude(self) -> Vector:
        """Return |self|."""
        bits = self.builder.bitcast(self.value, _WORDS)
        kept = self.builder.and_(bits, ir.Constant(_WORDS, [0x7FFFFFFF] * LANES))
        return self._make(self.builder.bitcast(kept, _FLOATS))

    def total(self) -> Any:
        """Return the sum of the lanes (a scalar), in the fixed order of a binary tree."""
        vector, size = self.value, LANES
        while size > 1:
            size //= 2
            kind = ir.VectorType(ir.IntType(32), size)
            low = self.builder.shuffle_vector(vector, vector, ir.Constant(kind, list(range(size))))
            high = self.builder.shuffle_vector(vector, vector, ir.Constant(kind, list(range(size, 2 * size))))
            vector = self.builder.fadd(low, high)
        return self.builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


class Memory:
    """Loads and stores of vectors at byte addresses.

    Parameters
    ----------
    builder
        Of the function that is being compiled.
    """

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def zero(self) -> Vector:
        """Return 16 zeros."""
        return Vector(self.builder, ir.Constant(_FLOATS, [0.0] * LANES))

    def at(self, base: Any, *steps: tuple[int, Any]) -> Any:
        """Return base + sum(count * stride) of `steps`; a stride is a value or an int."""
        address = base
        for count, stride in steps:
            if isinstance(stride, int):
                address = self.builder.add(address, ir.Constant(_INT64, count * stride))
            else:
                address = self.builder.add(address, self.builder.mul(stride, ir.Constant(_INT64, count)))
        return address

    def load(self, address: Any, *, half: bool = False) -> Vector:
        """Read 16 float32, or 16 bfloat16 as float32."""
        if not half:
            return Vector(self.builder, self.builder.load(self._pointer(address, _FLOATS), align=4))
        bits = self.builder.load(self._pointer(address, _HALVES), align=2)
        words = self.builder.shl(self.builder.zext(bits, _WORDS), ir.Constant(_WORDS, [16] * LANES))
        return Vector(self.builder, self.builder.bitcast(words, _FLOATS))

    def store(self, vector: Vector, address: Any, *, half: bool = False) -> None:
        """Write 16 float32, or round them (to nearest, ties to even) to 16 bfloat16."""
        if not half:
            self.builder.store(vector.value, self._pointer(address, _FLOATS), align=4)
            return
        if _rounds_to_bfloat():
            rounded = self.builder.bitcast(self.builder.fptrunc(vector.value, _BFLOATS), _HALVES)
        else:
            words = self.builder.bitcast(vector.value, _WORDS)
            sixteen, one, below = (ir.Constant(_WORDS, [n] * LANES) for n in (16, 1, 0x7FFF))
            odd = self.builder.and_(self.builder.lshr(words, sixteen), one)
            words = self.builder.add(words, self.builder.add(odd, below))
            rounded = self.builder.trunc(self.builder.lshr(words, sixteen), _HALVES)
        self.builder.store(rounded, self._pointer(address, _HALVES), align=2)

    def spread(self, address: Any) -> Vector:
        """Read one float32 into all lanes."""
        empty = ir.Constant(_FLOATS, ir.Undefined)
        filled = self.builder.insert_element(empty, self.load_scalar(address), ir.Constant(ir.IntType(32), 0))
        return Vector(self.builder, self.builder.shuffle_vector(filled, empty, ir.Constant(_WORDS, [0] * LANES)))

    def load_scalar(self, address: Any) -> Any:
        """Read one float32."""
        return self.builder.load(self._pointer(address, ir.FloatType()), align=4)

    def store_scalar(self, value: Any, address: Any) -> None:
        """Write one float32."""
        self.builder.store(value, self._pointer(address, ir.FloatType()), align=4)

    def _pointer(self, address: Any, kind: Any) -> Any:
        return self.builder.inttoptr(address, kind.as_pointer())


@functools.cache
def _rounds_to_bfloat() -> bool:
    """Whether numba compiles for a processor that rounds to bfloat16.

    For others LLVM calls a function that nobody defines, which ends the process.
    """
    return "+avx512bf16" in str(cpu_target.target_context.codegen().magic_tuple())


def body(arguments: int, emit: Callable[..., None]) -> Any:
    """Make a function of int64 arguments that compiled code can call.

    Parameters
    ----------
    arguments
        How many int64 it takes.
    emit
        Called once a compilation with a `Memory` and the arguments' values; emits the instructions.
    """
    signature = types.void(*[types.int64] * arguments)

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        emit(Memory(builder), *values)
        return context.get_dummy_value()

    # numba reads the number of parameters off the function that it decorates.
    names = ", ".join(f"a{i}" for i in range(arguments))
    scope: dict[str, Any] = {"result": (signature, generate)}
    exec(f"def typed(context, {names}):\n    return result", scope)  # noqa: S102 - a constant text
    return intrinsic(scope["typed"])
