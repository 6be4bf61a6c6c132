"""A short tune for plucked strings and a soft pad: one motif, passed around a ring of voices like a message."""

import numpy as np

RATE = 48_000
BEAT = 60 / 96
BARS = 10
CHORDS = [  # MIDI notes, low to high; one per bar, the last one held
    (45, 57, 60, 64, 69, 72), (41, 53, 57, 60, 65, 69), (48, 55, 60, 64, 67, 72), (43, 55, 59, 62, 67, 71),
    (45, 57, 60, 64, 69, 76), (41, 53, 57, 65, 69, 72), (38, 53, 57, 62, 65, 69), (40, 52, 56, 59, 64, 71),
    (45, 57, 60, 64, 69, 72), (45, 57, 61, 64, 69, 76),
]
WALK = [1, 3, 5, 4, 2, 4, 3, 5]  # eighth notes through the chord: out to the rim and back


def hertz(note):
    return 440 * 2 ** ((note - 69) / 12)


def pluck(note, seconds, bright=1.0):
    """Six decaying partials; high ones die first, as on a string."""
    t = np.arange(int(seconds * RATE)) / RATE
    wave = sum(
        bright ** (k - 1) / k**1.6 * np.sin(2 * np.pi * hertz(note) * k * t * (1 + 0.0002 * k * k)) * np.exp(-t * (1.6 + 1.3 * k))
        for k in range(1, 7)
    )
    return wave * np.minimum(1, t / 0.004) * np.minimum(1, (seconds - t) / 0.05)


def pad(note, seconds):
    """Two slightly detuned voices that swell and sink."""
    t = np.arange(int(seconds * RATE)) / RATE
    swell = np.sin(np.pi * np.minimum(t / seconds, 1)) ** 0.7
    return swell * sum(np.sin(2 * np.pi * hertz(note) * d * t + d) + 0.25 * np.sin(4 * np.pi * hertz(note) * d * t) for d in (0.998, 1.002))


def add(mix, start, wave, gain, side):
    """`side` −1 is left, +1 is right; equal power."""
    at, angle = int(start * RATE), (side + 1) * np.pi / 4
    end = min(at + len(wave), len(mix))
    mix[at:end, 0] += wave[: end - at] * gain * np.cos(angle)
    mix[at:end, 1] += wave[: end - at] * gain * np.sin(angle)


def room(mix):
    """A plain reverb: the tune folded with two seconds of decaying noise from a fixed seed."""
    noise = np.random.default_rng(11)
    t = np.arange(2 * RATE) / RATE
    wet = np.zeros_like(mix)
    size = 1 << (len(mix) + len(t)).bit_length()
    for ear in (0, 1):
        tail = noise.standard_normal(len(t)) * np.exp(-3.2 * t)
        tail = np.convolve(tail, np.ones(12) / 12, "same")
        wet[:, ear] = np.fft.irfft(np.fft.rfft(mix[:, ear], size) * np.fft.rfft(tail, size), size)[: len(mix)]
    return mix + wet / np.abs(wet).max() * np.abs(mix).max() * 0.3


def play():
    """Stereo 16-bit PCM at 48 kHz, a little under half a minute."""
    mix = np.zeros((int((BARS * 4 * BEAT + 2.5) * RATE), 2))
    for bar, chord in enumerate(CHORDS):
        start = bar * 4 * BEAT
        for note, side in zip(chord[1:4], (-0.6, 0.6, 0.0)):
            add(mix, start, pad(note, 4 * BEAT + 0.6), 0.035, side)
        add(mix, start, pluck(chord[0], 2.5, 0.6), 0.34, 0)
        if bar == BARS - 1:
            for i, note in enumerate(chord[1:]):
                add(mix, start + i * 0.09, pluck(note + 12, 3), 0.17, i / 2.5 - 1)
            continue
        for step, voice in enumerate(WALK):
            when, side = start + step * BEAT / 2, np.sin(2 * np.pi * (bar * 8 + step) / 12)
            loud = 0.2 + 0.05 * (step % 4 == 0)
            add(mix, when, pluck(chord[voice] + 12, 1.6), loud, side)
            if bar >= 4 and step % 2:  # from the fifth bar on a second voice answers across the room
                add(mix, when + BEAT / 4, pluck(chord[voice - 1] + 24, 1.1, 0.7), 0.075, -side)
    mix = room(mix)
    fade = int(2 * RATE)
    mix[-fade:] *= np.linspace(1, 0, fade)[:, None] ** 1.5
    return (mix / np.abs(mix).max() * 0.8 * 32767).astype("<i2").tobytes()
