"""The presentation: seven slides drawn with the same shapes, as a PDF of vectors and text."""

import cairo

from scene import (
    GOLD, HUES, INK, MIST, PAPER, PURPOSE, SHAPES, VIOLET, all_shapes, backdrop, draw_dot, draw_edges,
    draw_glow, draw_spread, rgb, spread, text,
)

WIDE, HIGH = 960, 540
ORIGIN = {"ring": 0, "tree": 0, "mesh": 0, "polyring": 12}
STORY = {
    "ring": ("A ring, to find", [
        "Every key has one owner: the first peer clockwise.", "Fingers at doubling distance halve the way.",
        "Thirty peers, a few hops, no directory.",
    ]),
    "mesh": ("A mesh, to announce", [
        "A handful of neighbors each, chosen at random.", "News travels along every link that is still missing it.",
        "Many peers may vanish; the rest still hear.",
    ]),
    "tree": ("A tree, to stream", [
        "Each peer receives once and passes on.", "No copy is wasted, the order stays.",
        "When a branch breaks, its peers grow back elsewhere.",
    ]),
    "polyring": ("A polyring, to route", [
        "Rings of rings: around each peer a ring may form.", "An address is a path, such as [2.4].",
        "Every route is known before the first step.",
    ]),
}


def paper(cx):
    cx.set_source_rgb(*rgb(PAPER))
    cx.paint()


def footer(cx, page):
    text(cx, 56, HIGH - 32, "Polymorph", 12, INK, 0.55, bold=True)
    text(cx, WIDE - 56, HIGH - 32, f"{page}", 12, INK, 0.55, align=1)


def title(cx, shapes):
    backdrop(cx, WIDE, HIGH)
    box = (WIDE * 0.47, 30, 480, 480)
    spots, edges = shapes["polyring"]
    draw_glow(cx, box[0] + 240, 270, 300, VIOLET, 0.22)
    draw_edges(cx, box, spots, edges, MIST, 0.35, 1.2)
    draw_spread(cx, box, spots, spread(edges, 12), 9, VIOLET, 7)
    text(cx, 72, 250, "Polymorph", 58, 0xFFFFFF, bold=True)
    text(cx, 74, 292, "Every purpose its own shape", 22, GOLD)
    text(cx, 74, 326, "A framework for networks of peers", 15, MIST)


def question(cx, shapes):
    paper(cx)
    text(cx, 56, 108, "One shape for everything?", 38, INK, bold=True)
    lines = ["Finding wants a map.", "News wants many ways.", "A stream wants no detours.", "A route wants to be known."]
    for i, (name, line) in enumerate(zip(["ring", "mesh", "tree", "polyring"], lines)):
        box = (56 + i * 216, 176, 190, 190)
        spots, edges = shapes[name]
        draw_edges(cx, box, spots, edges, HUES[name], 0.55, 1)
        draw_spread(cx, box, spots, spread(edges, 0), -1, HUES[name], 4.6, resting=INK)
        text(cx, box[0] + 95, 412, name, 19, INK, bold=True, align=0.5)
        text(cx, box[0] + 95, 438, line, 13.5, INK, 0.75, align=0.5)
    footer(cx, 2)


def shape(cx, shapes, name, page):
    paper(cx)
    head, lines = STORY[name]
    hue, (spots, edges) = HUES[name], shapes[name]
    text(cx, 56, 108, head, 38, INK, bold=True)
    cx.set_source_rgb(*rgb(hue))
    cx.rectangle(58, 128, 64, 5)
    cx.fill()
    for i, line in enumerate(lines):
        draw_dot(cx, 64, 199 + i * 52, 4.5, hue)
        text(cx, 82, 205 + i * 52, line, 16.5, INK)
    box = (540, 76, 372, 372)
    draw_edges(cx, box, spots, edges, INK, 0.18, 1.1)
    draw_spread(cx, box, spots, spread(edges, ORIGIN[name]), 1.6, hue, 7.5, resting=INK, glow=False)
    text(cx, 726, 474, "a broadcast, one and a half hops after it began", 11, INK, 0.55, align=0.5)
    footer(cx, page)


def closing(cx, shapes):
    backdrop(cx, WIDE, HIGH)
    text(cx, WIDE / 2, 150, "All of them at once, on one node", 38, 0xFFFFFF, bold=True, align=0.5)
    for i, name in enumerate(SHAPES):
        box = (90 + i * 205, 200, 165, 165)
        spots, edges = shapes[name]
        draw_edges(cx, box, spots, edges, HUES[name], 0.4, 0.9)
        draw_spread(cx, box, spots, spread(edges, 0), 9, HUES[name], 3)
        text(cx, box[0] + 82, 400, f"{name}, {PURPOSE[name]}", 15, HUES[name], align=0.5)
    text(cx, WIDE / 2, 462, "one identity  ·  one session per pair  ·  many overlays", 17, MIST, align=0.5)


def make(path):
    shapes = all_shapes()
    surface = cairo.PDFSurface(str(path), WIDE, HIGH)
    surface.set_metadata(cairo.PDF_METADATA_TITLE, "Polymorph: every purpose its own shape")
    surface.set_metadata(cairo.PDF_METADATA_AUTHOR, "The Polymorph contributors")
    surface.set_metadata(cairo.PDF_METADATA_CREATE_DATE, "2026-01-01T00:00:00Z")
    cx = cairo.Context(surface)
    pages = [title, question] + [None] * 4 + [closing]
    for number, page in enumerate(pages, 1):
        if page:
            page(cx, shapes)
        else:
            shape(cx, shapes, list(STORY)[number - 3], number)
        surface.show_page()
    surface.finish()
