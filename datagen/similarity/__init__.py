"""Which texts resemble an earlier one: normalise, sketch, propose pairs, verify them exactly, keep the first.

    normalise   text -> words and operators            texts     many texts in one buffer
    hashing     the hash functions and permutations    bands     signatures -> band keys -> candidate pairs
    verify      candidate pairs -> exact Jaccard       select    verified pairs -> what is kept, and for what
    matching    all of it over a stream of texts       index     what was kept, to go on from
    on_ray      all of it on a Ray cluster

Each step is a pure function over arrays. Two backends do the inner loops with the same bits: `vectorised` (NumPy and
Polars, always there) and `compiled` (Numba, if installed).
"""
