#!/usr/bin/env python3
"""Prints the derived figures of POLYRING.md, after checking every formula by brute force on small polyrings.

Uniform polyrings only: r peers in the center ring, r in the child ring of each peer, d levels of rings.
"""

import itertools
from collections import deque

SMALL = [(2, 2), (3, 2), (5, 2), (2, 3), (3, 3), (4, 3)]


def peers(r, d):
    return sum(r**level for level in range(1, d + 1))


def branch(r, d):
    """Peers in the branch of one center peer, itself included."""
    return (r**d - 1) // (r - 1)


def links(r, d):
    return peers(r, d) * (r + 1) // 2 - r


def hops(a, b):
    """Between two addresses."""
    common = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    return abs(len(a) - len(b)) if common == min(len(a), len(b)) else len(a) + len(b) - 2 * common - 1


def mean_hops(r, d):
    """Over all ordered pairs, counted by the levels of both and the length of their common prefix."""
    total = 0
    for a, b in itertools.product(range(1, d + 1), repeat=2):
        for common in range(min(a, b)):
            total += r**a * (r - 1) * r ** (b - common - 1) * (a + b - 2 * common - 1)
        total += r ** max(a, b) * abs(a - b)
    return total / (peers(r, d) * (peers(r, d) - 1))


def center_share(r, d):
    """The part of all messages that one center peer forwards, if every pair talks alike."""
    n, inside = peers(r, d), branch(r, d)
    return 2 * (inside - 1) * (n - inside) / (n * (n - 1))


def next_hop(here, to):
    common = next((i for i, (x, y) in enumerate(zip(here, to)) if x != y), min(len(here), len(to)))
    if common + 2 <= len(here) or (common + 1 == len(here) and len(to) == common):
        return here[:-1]
    if common + 1 == len(here):
        return here[:-1] + (to[common],)
    return here + (to[common],) if len(to) > len(here) else None


def brute_force(r, d):
    """Walks every pair and every broadcast of one shape."""
    everyone = [path for level in range(1, d + 1) for path in itertools.product(range(r), repeat=level)]
    linked = {a: [b for b in everyone if a != b and (a[:-1] == b[:-1] and len(a) == len(b) or a[:-1] == b or b[:-1] == a)] for a in everyone}
    assert len(everyone) == peers(r, d) and sum(map(len, linked.values())) == 2 * links(r, d)
    total, longest, through = 0, 0, dict.fromkeys(everyone, 0)
    for origin in everyone:
        far, ways, queue = {origin: 0}, {origin: 1}, deque([origin])
        while queue:
            here = queue.popleft()
            for other in linked[here]:
                if other not in far:
                    far[other], ways[other] = far[here] + 1, 0
                    queue.append(other)
                if far[other] == far[here] + 1:
                    ways[other] += ways[here]
        for to in everyone:
            here, walked = origin, 0
            while here != to:
                here, walked = next_hop(here, to), walked + 1
                through[here] += here != to
            assert walked == far[to] == (hops(origin, to) if origin != to else 0) and ways[to] == 1
            total, longest = total + walked, max(longest, walked)
        heard, sent, queue = {origin: 0}, 0, deque((origin, to) for to in linked[origin])
        while queue:
            source, here = queue.popleft()
            assert here not in heard, "a broadcast never arrives twice"
            heard[here], sent = heard[source] + 1, sent + 1
            up = here == source[:-1]
            queue += [(here, to) for to in linked[here] if (to[:-1] != here if up else to[:-1] == here)]
        assert sent == len(everyone) - 1 and max(heard.values()) <= 2 * d - 1
    pairs = len(everyone) * (len(everyone) - 1)
    assert longest == 2 * d - 1 and abs(total / pairs - mean_hops(r, d)) < 1e-9
    assert all(abs(through[(i,)] / pairs - center_share(r, d)) < 1e-9 for i in range(r))


def main():
    for shape in SMALL:
        brute_force(*shape)
    print(f"formulas hold on {', '.join(map(str, SMALL))}\n")
    print("at least | d | r | peers | links interior | mean | hops mean | max | center share | orphans of a center peer")
    for power, d in itertools.product(range(3, 8), range(2, 7)):
        r = next(r for r in itertools.count(2) if peers(r, d) >= 10**power)
        n = peers(r, d)
        print(
            f"10^{power} | {d} | {r} | {n:,} | {2 * r} | {2 * links(r, d) / n:.0f} | {mean_hops(r, d):.2f} | {2 * d - 1}"
            f" | {100 * center_share(r, d):.2g} % | {branch(r, d) - 1:,}"
        )
    print("\nlongest route up, in %: d | share of peers down | clusters of 1, 2, 3")
    for d, down in itertools.product((3, 4), (0.1, 0.2, 0.3)):
        print(f"{d} | {down} | " + ", ".join(f"{100 * (1 - down**k) ** (2 * d - 2):.1f}" for k in (1, 2, 3)))


if __name__ == "__main__":
    main()
