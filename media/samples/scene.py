"""Thirty peers, four shapes: the drawing that image, animation, video and slides share.

A shape is a list of positions (unit square, y down) and a list of edges; a spread says when each peer hears a
broadcast and from whom. Everything is computed from constants, so every run draws the same.
"""

import math
import random

import cairo

PEERS = 30
NIGHT, DUSK, PAPER, INK = 0x0B1026, 0x1B2350, 0xF6F2E9, 0x1A1F3B
CORAL, GOLD, TEAL, VIOLET, MIST = 0xFF7A59, 0xFFC857, 0x2EC4B6, 0x9D8CFF, 0x8FA3D9
SHAPES = ["ring", "tree", "mesh", "polyring"]
HUES = {"ring": GOLD, "tree": TEAL, "mesh": CORAL, "polyring": VIOLET}
PURPOSE = {"ring": "to find", "tree": "to stream", "mesh": "to announce", "polyring": "to route"}


def rgb(color):
    return (color >> 16) / 255, (color >> 8 & 255) / 255, (color & 255) / 255


def circle(n, radius, cx=0.5, cy=0.5, turn=-0.25):
    at = [math.tau * (i / n + turn) for i in range(n)]
    return [(cx + radius * math.cos(a), cy + radius * math.sin(a)) for a in at]


def ring():
    """A Chord ring: the successor, and fingers at doubling distance."""
    edges = {tuple(sorted((i, (i + step) % PEERS))) for i in range(PEERS) for step in (1, 2, 4, 8)}
    return circle(PEERS, 0.42), sorted(edges)


def tree():
    """Levels of 1, 2, 4, 8 and 15 peers, each peer with two children."""
    spots, first = [], 0
    for level in range(5):
        count = min(2**level, PEERS - first)
        spots += [((i + 0.5) / 2**level, 0.1 + 0.2 * level) for i in range(count)]
        first += count
    return spots, [((child - 1) // 2, child) for child in range(1, PEERS)]


def mesh():
    """Scattered peers, evenly pushed apart inside a disc, each linked to its three nearest."""
    dice = random.Random(5)
    spots = [(0.2 + 0.6 * dice.random(), 0.2 + 0.6 * dice.random()) for _ in range(PEERS)]
    for _ in range(60):
        moved = []
        for i, (x, y) in enumerate(spots):
            dx, dy = (0.5 - x) * 0.01, (0.5 - y) * 0.01
            for j, (u, v) in enumerate(spots):
                gap = math.hypot(x - u, y - v)
                if i != j and gap < 0.2:
                    push = (0.2 - gap) * 0.25 / (gap + 1e-6)
                    dx, dy = dx + (x - u) * push, dy + (y - v) * push
            moved.append((x + dx, y + dy))
        spots = moved
    edges = set()
    for i in range(PEERS):
        near = sorted(range(PEERS), key=lambda j: math.dist(spots[i], spots[j]))[1:5]
        edges |= {tuple(sorted((i, j))) for j in near}
    left, right = min(x for x, _ in spots), max(x for x, _ in spots)
    top, bottom = min(y for _, y in spots), max(y for _, y in spots)
    fit = 0.9 / max(right - left, bottom - top)
    return [(0.5 + (x - (left + right) / 2) * fit, 0.5 + (y - (top + bottom) / 2) * fit) for x, y in spots], sorted(edges)


def polyring():
    """A center ring of five; around each of its peers a child ring of five. Every ring is a full mesh."""
    spots = circle(5, 0.31)
    edges = [(i, j) for i in range(5) for j in range(i)]
    for parent in range(5):
        x, y = spots[parent]
        out = math.atan2(y - 0.5, x - 0.5) / math.tau
        first = len(spots)
        spots += circle(5, 0.135, x, y, out + 0.1)
        edges += [(first + i, first + j) for i in range(5) for j in range(i)]
        edges += [(first + i, parent) for i in range(5)]
    return spots, edges


def all_shapes():
    return {name: globals()[name]() for name in SHAPES}


def spread(edges, origin):
    """Hops until each peer hears a broadcast from `origin`, and from whom it hears it first."""
    links = {i: [] for i in range(PEERS)}
    for a, b in edges:
        links[a].append(b)
        links[b].append(a)
    heard, queue = {origin: (0, None)}, [origin]
    for peer in queue:
        for other in sorted(links[peer]):
            if other not in heard:
                heard[other] = (heard[peer][0] + 1, peer)
                queue.append(other)
    return heard


def ease(x):
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


def place(box, spot):
    x, y, w, h = box
    return x + spot[0] * w, y + spot[1] * h


def draw_edges(cx, box, spots, edges, color, alpha, width):
    cx.set_line_width(width)
    cx.set_line_cap(cairo.LINE_CAP_ROUND)
    cx.set_source_rgba(*rgb(color), alpha)
    for a, b in edges:
        cx.move_to(*place(box, spots[a]))
        cx.line_to(*place(box, spots[b]))
        cx.stroke()


def draw_glow(cx, x, y, radius, color, alpha):
    light = cairo.RadialGradient(x, y, 0, x, y, radius)
    light.add_color_stop_rgba(0, *rgb(color), alpha)
    light.add_color_stop_rgba(1, *rgb(color), 0)
    cx.set_source(light)
    cx.arc(x, y, radius, 0, math.tau)
    cx.fill()


def draw_dot(cx, x, y, radius, color):
    cx.new_path()  # text leaves a current point, from which an arc would draw a line
    cx.set_source_rgb(*rgb(color))
    cx.arc(x, y, radius, 0, math.tau)
    cx.fill()


def draw_spread(cx, box, spots, heard, hops, hue, size, resting=MIST, glow=True):
    """The broadcast after `hops` hops (a fraction is a message under way); `hops` < 0 draws peers at rest."""
    for peer, (at, source) in heard.items():
        if source is None or hops <= at - 1:
            continue
        (ax, ay), (bx, by) = place(box, spots[source]), place(box, spots[peer])
        way = ease(hops - at + 1)
        cx.set_line_width(size * 0.42)
        cx.set_source_rgba(*rgb(hue), 0.9)
        cx.move_to(ax, ay)
        cx.line_to(ax + (bx - ax) * way, ay + (by - ay) * way)
        cx.stroke()
    for peer, (at, _) in heard.items():
        x, y = place(box, spots[peer])
        age = hops - at
        if age < 0:
            draw_dot(cx, x, y, size * 0.8, resting)
            continue
        if glow:
            draw_glow(cx, x, y, size * (4.2 + 2.5 * math.exp(-3 * age)), hue, 0.28 + 0.4 * math.exp(-2.5 * age))
        draw_dot(cx, x, y, size * (1 + 0.5 * math.exp(-4 * age)), hue)
        draw_dot(cx, x, y, size * 0.45, 0xFFFFFF)


def backdrop(cx, w, h):
    sky = cairo.RadialGradient(w * 0.5, h * 0.42, 0, w * 0.5, h * 0.5, math.hypot(w, h) * 0.6)
    sky.add_color_stop_rgb(0, *rgb(DUSK))
    sky.add_color_stop_rgb(1, *rgb(NIGHT))
    cx.set_source(sky)
    cx.paint()


def text(cx, x, y, words, size, color, alpha=1.0, bold=False, align=0.0):
    """`align` 0 starts at x, 0.5 centers on it, 1 ends there."""
    cx.select_font_face("Inter", cairo.FONT_SLANT_NORMAL, cairo.FONT_WEIGHT_BOLD if bold else cairo.FONT_WEIGHT_NORMAL)
    cx.set_font_size(size)
    cx.set_source_rgba(*rgb(color), alpha)
    cx.move_to(x - cx.text_extents(words).x_advance * align, y)
    cx.show_text(words)
