"""The hash functions of dedup, defined once: any tool can reproduce a signature from them.

    value(bytes)  = fmix64(sum of bytes[i] * R**i  +  len(bytes) * L)  modulo 2**64
    shingle_hash  = value >> 32                                        the name "poly64-fmix"
    signature[k]  = min over shingles of  A[k] * fmix32(shingle_hash) + B[k]  modulo 2**32

fmix32 and fmix64 are MurmurHash3's finalisers. A and B are datasketch's for scheme "affine32" (2.0), so a signature is
bit for bit `MinHash(num_perm, seed, scheme="affine32", hashfunc=shingle_hash).hashvalues`. A polynomial can be summed
over a whole buffer once; a shingle is then a difference of two sums.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

NAME = "poly64-fmix"
SCHEME = "affine32"
SEED = 1

R = 0x9E3779B97F4A7C15
R_INVERSE = pow(R, -1, 1 << 64)
LENGTH = 0xC2B2AE3D27D4EB4F
FMIX64 = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)
FMIX32 = (0x85EBCA6B, 0xC2B2AE35)

_MASK = (1 << 64) - 1

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]


def value(data: bytes) -> int:
    """The 64-bit hash of some bytes: the definition, for other tools and for tests."""
    total = 0
    for byte in reversed(data):
        total = (total * R + byte) & _MASK
    total = (total + len(data) * LENGTH) & _MASK
    for factor in FMIX64:
        total = ((total ^ (total >> 33)) * factor) & _MASK
    return total ^ (total >> 33)


def shingle_hash(data: bytes) -> int:
    """The 32-bit hash of a shingle's UTF-8 bytes, as datasketch's `hashfunc`."""
    return value(data) >> 32


@lru_cache(maxsize=8)
def permutations(num_perm: int, seed: int = SEED) -> tuple[U32, U32]:
    """(A, B) of the `num_perm` permutations, drawn as datasketch draws them for "affine32"; A is odd."""
    draw = np.random.RandomState(seed)
    a = draw.randint(0, 1 << 31, num_perm, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    b = draw.randint(0, 1 << 32, num_perm, dtype=np.uint32)
    return a, b


@lru_cache(maxsize=4)
def _powers(count: int) -> tuple[U64, U64]:
    both = []
    for base in (R, R_INVERSE):
        factors = np.full(count, base, np.uint64)
        factors[0] = 1
        both.append(np.cumprod(factors))
    return both[0], both[1]


def powers(length: int) -> tuple[U64, U64]:
    """R**i and R**-i modulo 2**64 for i up to `length`, at least."""
    return _powers(1 << max(16, int(length).bit_length()))
