#!/usr/bin/python3
"""Makes the sample media beside this file. Nothing else in the repository needs it: the results are committed.

Debian packages (bookworm): python3-cairo python3-numpy ffmpeg fonts-inter
    apt-get install --no-install-recommends python3-cairo python3-numpy ffmpeg fonts-inter
Run:  media/samples/make.py             (about half a minute)
      media/samples/make.py tune.opus   (only the named ones)

With the same versions of these packages the same bytes come out: no clock, no unseeded randomness, one encoder thread.
"""

import subprocess
import sys
from pathlib import Path

import cairo

import scene
import slides
import tune

HERE = Path(__file__).resolve().parent
EXACT = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-threads", "1"]

TALE = """\
# The City With Four Maps

*A short tale about shapes. Sample text of the Polymorph project.*

There was a city whose people owned one map each, and all the maps were the same. It showed a great round road.
Whoever looked for a house walked the round road, took a bridge where a bridge was, and arrived. It was a good map,
and the city was proud of it.

Then the baker wished to tell everyone that the bread was ready. He walked the whole round road, shouting, and when
he came home the bread was cold.

"You do not need a road," said the children. "Tell three of us. Each of us tells three more." By the time the baker had
closed his door the whole city was eating. So they drew a second map, of who stands near whom, and called it the
**mesh**. If half the children were asleep, the news still came.

Then the singer came to the city, and everyone wished to hear every note, in order, once. The children tried to carry
the song. The notes arrived twice, or thrice, and the last before the first. "You do not need a crowd," said the
gardener. "Look at my pear." The singer sang to two, and each of them to two more, and no note was carried that
nobody had missed. They called the third map the **tree**. When a branch broke, those upon it grew back elsewhere.

Last came the letter carrier, who was tired of asking the way. "Build round squares," she said, "where everyone knows
everyone; and around each door, if you like, another square. Then a house is called by the squares one passes: *four,
ten, thirty-four*. I shall know the whole way before I take the first step." They called the fourth map the
**polyring**, and she was never lost again; only, when a corner house burned down, the squares behind it had to wait
for a new name.

| what you wish | which map |
|---|---|
| to find a house | ring |
| to tell the news | mesh |
| to hear the song | tree |
| to know the way | polyring |

And the old map? It still hangs in every hall, for finding houses is what it is good at. What the people learned is
not that their map was wrong. They learned that a city is one city, with one name for each of its people, and may
have as many maps as it has wishes.
"""


def canvas(w, h):
    surface = cairo.ImageSurface(cairo.FORMAT_RGB24, w, h)
    return surface, cairo.Context(surface)


def ffmpeg(arguments, data, path):
    """Feeds raw bytes to ffmpeg, which writes `path`."""
    command = ["ffmpeg", "-v", "error", "-y", *arguments, *EXACT, str(path)]
    subprocess.run(command, input=data, check=True)


def raw(w, h, rate=1):
    return ["-f", "rawvideo", "-pix_fmt", "bgr0", "-s", f"{w}x{h}", "-r", str(rate), "-i", "-"]


def make_text(path):
    path.write_text(TALE, encoding="utf-8")


def make_image(path):
    """A poster: the four shapes, each in the middle of a broadcast."""
    w, h = 1440, 960
    surface, cx = canvas(w, h)
    scene.backdrop(cx, w, h)
    moment = {"ring": (0, 1.55), "tree": (0, 2.6), "mesh": (0, 1.6), "polyring": (12, 1.75)}
    for i, (name, (spots, edges)) in enumerate(scene.all_shapes().items()):
        x, y = 120 + i % 2 * 690, 48 + i // 2 * 430
        box, hue = (x, y, 390, 390), scene.HUES[name]
        scene.draw_glow(cx, x + 195, y + 195, 330, hue, 0.10)
        scene.draw_edges(cx, box, spots, edges, scene.MIST, 0.30, 1.3)
        origin, hops = moment[name]
        scene.draw_spread(cx, box, spots, scene.spread(edges, origin), hops, hue, 8)
        scene.text(cx, x + 418, y + 195, name, 34, 0xFFFFFF, bold=True)
        scene.text(cx, x + 419, y + 227, scene.PURPOSE[name], 21, hue)
    scene.text(cx, w / 2, h - 32, "Polymorph: every purpose its own shape", 22, scene.MIST, align=0.5)
    ffmpeg([*raw(w, h), "-frames:v", "1", "-c:v", "libwebp", "-quality", "88", "-compression_level", "6"], bytes(surface.get_data()), path)


def make_animation(path):
    """A broadcast spreads over the rings of a polyring, from a child ring through the center to all others; loops."""
    size, rate, frames = 360, 16, 52
    spots, edges = scene.polyring()
    heard, out = scene.spread(edges, 12), bytearray()
    for frame in range(frames):
        surface, cx = canvas(size, size)
        cx.set_source_rgb(*scene.rgb(scene.NIGHT))
        cx.paint()
        box, hops = (12, 12, size - 24, size - 24), frame / 8 - 0.8
        scene.draw_edges(cx, box, spots, edges, 0x3A4A80, 1, 1)
        if frame < frames - 10:
            scene.draw_spread(cx, box, spots, heard, hops, scene.GOLD, 5.5)
        else:  # dim, and be ready for the next round
            cx.push_group()
            scene.draw_spread(cx, box, spots, heard, hops, scene.GOLD, 5.5)
            cx.pop_group_to_source()
            cx.paint_with_alpha(1 - scene.ease((frame - frames + 10) / 9))
            cx.push_group()
            scene.draw_spread(cx, box, spots, heard, -1, scene.GOLD, 5.5)
            cx.pop_group_to_source()
            cx.paint_with_alpha(scene.ease((frame - frames + 10) / 9))
        out += surface.get_data()
    palette = "split[a][b];[a]palettegen=max_colors=40:stats_mode=full[p];[b][p]paletteuse=dither=none:diff_mode=rectangle"
    ffmpeg([*raw(size, size, rate), "-filter_complex", palette, "-loop", "0"], out, path)


def video_frame(shapes, heard, second):
    """Each shape stands for three seconds: peers walk to their places, links appear, a broadcast runs."""
    w, h, stay = 854, 480, 3.2
    surface, cx = canvas(w, h)
    scene.backdrop(cx, w, h)
    at = min(int(second / stay), len(scene.SHAPES) - 1)
    since = second - at * stay
    name, before = scene.SHAPES[at], scene.SHAPES[at - 1]
    walk = scene.ease(since / 0.9)
    (spots, edges), (old, old_edges) = shapes[name], shapes[before]
    if at == 0:
        old, old_edges = [(0.5, 0.5)] * scene.PEERS, []
    now = [(a + (c - a) * walk, b + (d - b) * walk) for (a, b), (c, d) in zip(old, spots)]
    box, hue = (w / 2 - 195, 22, 390, 390), scene.HUES[name]
    scene.draw_edges(cx, box, now, old_edges, scene.MIST, 0.30 * (1 - walk), 1.2)
    scene.draw_edges(cx, box, now, edges, scene.MIST, 0.34 * walk * walk, 1.2)
    last = max(hop for hop, _ in heard[name].values())
    hops = (since - 1.0) / 1.3 * last if since > 1.0 else -1
    if since < 1.0 and at > 0:  # the light of the last broadcast fades while the peers walk
        cx.push_group()
        rest = {peer: (0, None) for peer in range(scene.PEERS)}
        scene.draw_spread(cx, box, now, rest, 2, scene.HUES[before], 6)
        cx.pop_group_to_source()
        scene.draw_spread(cx, box, now, heard[name], -1, hue, 6)
        cx.push_group()
        scene.draw_spread(cx, box, now, rest, 2, scene.HUES[before], 6)
        cx.pop_group_to_source()
        cx.paint_with_alpha(1 - scene.ease(since / 0.8))
    else:
        scene.draw_spread(cx, box, now, heard[name], hops, hue, 6)
    alpha = scene.ease((since - 0.3) / 0.5) * (1 - scene.ease((since - stay + 0.25) / 0.25) * (at < 3))
    cx.push_group()
    scene.text(cx, w / 2, 450, f"{name}, {scene.PURPOSE[name]}", 25, 0xFFFFFF, bold=True, align=0.5)
    cx.pop_group_to_source()
    cx.paint_with_alpha(alpha)
    dark = max(1 - scene.ease(second / 0.6), scene.ease((second - 13.3) / 0.7))
    cx.set_source_rgba(0, 0, 0, dark)
    cx.paint()
    return surface


def make_video(path):
    """The same thirty peers become ring, tree, mesh and polyring. The sound is the tune's beginning."""
    shapes = scene.all_shapes()
    origins = {"ring": 0, "tree": 0, "mesh": 0, "polyring": 12}
    heard = {name: scene.spread(edges, origins[name]) for name, (_, edges) in shapes.items()}
    rate, seconds = 24, 14
    frames = b"".join(bytes(video_frame(shapes, heard, i / rate).get_data()) for i in range(rate * seconds))
    sound = HERE / ".sound.pcm"
    sound.write_bytes(tune.play()[: seconds * tune.RATE * 4])
    try:
        ffmpeg([
            *raw(854, 480, rate), "-f", "s16le", "-ar", str(tune.RATE), "-ac", "2", "-i", str(sound),
            "-c:v", "libx264", "-preset", "veryslow", "-crf", "29", "-g", "48", "-pix_fmt", "yuv420p", "-tune", "animation",
            "-c:a", "aac", "-b:a", "56k", "-af", "afade=t=out:st=12.6:d=1.4", "-movflags", "+faststart", "-shortest",
        ], frames, path)
    finally:
        sound.unlink()


def make_audio(path):
    ffmpeg([
        "-f", "s16le", "-ar", str(tune.RATE), "-ac", "2", "-i", "-",
        "-c:a", "libopus", "-b:a", "48k", "-serial_offset", "2026",
    ], tune.play(), path)


MAKERS = {
    "tale.md": make_text,
    "shapes.webp": make_image,
    "broadcast.gif": make_animation,
    "morph.mp4": make_video,
    "tune.opus": make_audio,
    "slides.pdf": slides.make,
}


def main():
    names = sys.argv[1:] or list(MAKERS)
    unknown = [name for name in names if name not in MAKERS]
    if unknown:
        sys.exit(f"no such sample: {', '.join(unknown)}; there are {', '.join(MAKERS)}")
    for name in names:
        MAKERS[name](HERE / name)
        print(f"{name}: {(HERE / name).stat().st_size} bytes")


if __name__ == "__main__":
    main()
