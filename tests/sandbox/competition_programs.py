"""Programs as they are handed in at programming contests: name, source, one input, the output for it."""

from __future__ import annotations

PROGRAMS = {
    "sum of pairs": (
        "for _ in range(int(input())):\n    a, b = map(int, input().split())\n    print(a + b)\n",
        "3\n1 2\n-5 5\n1000000000000 1\n",
        "3\n0\n1000000000001\n",
    ),
    "prefix sums through buffers": (
        """
import sys
from itertools import accumulate
read = sys.stdin.buffer.readline
n, q = map(int, read().split())
sums = [0, *accumulate(map(int, read().split()))]
out = []
for _ in range(q):
    left, right = map(int, read().split())
    out.append(sums[right] - sums[left - 1])
sys.stdout.buffer.write(b"\\n".join(b"%d" % x for x in out))
""",
        "5 3\n1 2 3 4 5\n1 5\n2 3\n4 4\n",
        "15\n5\n4\n",
    ),
    "shortest path": (
        """
import heapq
from collections import defaultdict
n, m = map(int, input().split())
graph = defaultdict(list)
for _ in range(m):
    a, b, w = map(int, input().split())
    graph[a].append((b, w))
    graph[b].append((a, w))
best, heap = {}, [(0, 1)]
while heap:
    d, node = heapq.heappop(heap)
    if node in best:
        continue
    best[node] = d
    for other, w in graph[node]:
        heapq.heappush(heap, (d + w, other))
print(best.get(n, -1))
""",
        "4 4\n1 2 7\n1 3 2\n3 2 3\n2 4 1\n",
        "6\n",
    ),
    "deep recursion in a big thread": (
        """
import sys, threading
sys.setrecursionlimit(1 << 20)
threading.stack_size(1 << 26)
def depth(n):
    return 0 if n == 0 else 1 + depth(n - 1)
def main():
    print(depth(int(input())))
threading.Thread(target=main).start()
""",
        "100000\n",
        "100000\n",
    ),
    "read until the end": (
        """
total = 0
while True:
    try:
        total += sum(map(int, input().split()))
    except EOFError:
        break
print(total)
""",
        "1 2 3\n\n4 5\n6",
        "21\n",
    ),
    "open(0)": (
        "n, *rest = map(int, open(0).read().split())\nprint(*sorted(rest)[:n], sep='\\n')\n",
        "2\n5 3 9 1\n",
        "1\n3\n",
    ),
    "own fast output": (
        """
import os, sys, atexit
from io import BytesIO
sys.stdin = BytesIO(os.read(0, 1 << 20))
sys.stdout = BytesIO()
atexit.register(lambda: os.write(1, sys.stdout.getvalue()))
input = lambda: sys.stdin.readline().decode()
a = int(input())
sys.stdout.write(str(a * a).encode())
""",
        "12\n",
        "144\n",
    ),
    "quadratic roots": (
        """
import math
a, b, c = map(float, input().split())
root = math.sqrt(b * b - 4 * a * c)
print((-b - root) / (2 * a), (-b + root) / (2 * a))
""",
        "1 -3 1\n",
        "0.381966 2.618034\n",
    ),
    "guarded main": (
        """
def solve(words):
    return "YES" if words == words[::-1] else "NO"
if __name__ == "__main__":
    for line in __import__("sys").stdin:
        print(solve(line.strip()))
""",
        "abba\nabc\n",
        "YES\nNO\n",
    ),
    "exit in the middle": (
        "n = int(input())\nif n % 2:\n    print('odd')\n    exit()\nprint('even')\nquit(0)\n",
        "7\n",
        "odd\n",
    ),
    "memoised counting": (
        """
from functools import lru_cache
import sys
sys.setrecursionlimit(10000)
@lru_cache(maxsize=None)
def ways(n):
    return 1 if n < 2 else (ways(n - 1) + ways(n - 2)) % (10**9 + 7)
print(ways(int(input())))
""",
        "2000\n",
        "276439883\n",
    ),
    "classes and decimals": (
        """
from dataclasses import dataclass
from decimal import Decimal, getcontext
from fractions import Fraction
@dataclass(order=True)
class Item:
    price: Decimal
    name: str
getcontext().prec = 30
items = sorted(Item(Decimal(p), n) for n, p in (input().split() for _ in range(int(input()))))
print(sum(item.price for item in items), items[0].name, Fraction(1, 3) + Fraction(1, 6))
""",
        "2\npear 0.30\nfig 0.1\n",
        "0.40 fig 1/2\n",
    ),
    "unicode": (
        "s = input()\nprint(s[::-1], len(s))\n",
        "żółw 🐢\n",
        "🐢 włóż 6\n",
    ),
    "grid": (
        """
h, w = map(int, input().split())
grid = [input() for _ in range(h)]
seen, count = set(), 0
for start in ((i, j) for i in range(h) for j in range(w)):
    if grid[start[0]][start[1]] == "#" and start not in seen:
        count += 1
        stack = [start]
        while stack:
            i, j = stack.pop()
            if 0 <= i < h and 0 <= j < w and grid[i][j] == "#" and (i, j) not in seen:
                seen.add((i, j))
                stack += [(i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)]
print(count, end="")
""",
        "3 5\n##..#\n.#...\n#..##\n",
        "4\n",
    ),
    "interactive style": (
        "import sys\nprint('? 1', flush=True)\nx = int(sys.stdin.readline())\nprint('!', x, flush=True)\n",
        "42\n",
        "? 1\n! 42\n",
    ),
}
"""Deterministic, and right in plain Python too; the floats of "quadratic roots" need a tolerance."""
