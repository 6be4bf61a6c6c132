//! Charts as inline SVG: bars, a curve, a curve of ranks; and the rows of kinds as plain markup.

use core::fmt::Write as _;

use super::scale::{Axis, bytes, escape, number, percent};
use crate::report::{Bins, Kind};

/// A chart's size, and the room for its labels: left, right, top, bottom.
const SIZE: (f64, f64) = (520.0, 240.0);
const MARGIN: (f64, f64, f64, f64) = (46.0, 14.0, 18.0, 38.0);

/// A vertical line where something of note is.
#[derive(Clone, Debug)]
pub(super) struct Mark(pub(super) f64, pub(super) String);

/// An empty chart with its axes.
struct Canvas {
    x: Axis,
    y: Axis,
    svg: String,
}

impl Canvas {
    fn new(x: Axis, y: Axis, y_tick: impl Fn(f64) -> String) -> Self {
        let mut canvas = Self { x, y, svg: format!("<svg viewBox=\"0 0 {} {}\" role=\"img\">", SIZE.0, SIZE.1) };
        let (left, right, floor) = (MARGIN.0, SIZE.0 - MARGIN.1, SIZE.1 - MARGIN.3);
        for tick in canvas.y.ticks().collect::<Vec<_>>() {
            let at = canvas.high(tick);
            let label = y_tick(tick);
            canvas.put(format_args!(
                "<path class=\"axis\" d=\"M{left:.1} {at:.1}H{right:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                left - 7.0,
                at + 4.0
            ));
        }
        for tick in canvas.x.ticks().collect::<Vec<_>>() {
            let (at, label) = (canvas.across(tick), number(tick));
            canvas.put(format_args!(
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                floor + 15.0
            ));
        }
        let (middle, label) = ((left + right) / 2.0, escape(&canvas.x.label));
        canvas.put(format_args!(
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            SIZE.1 - 6.0
        ));
        canvas
    }

    fn across(&self, value: f64) -> f64 {
        MARGIN.0 + self.x.place(value) * (SIZE.0 - MARGIN.0 - MARGIN.1)
    }

    fn high(&self, value: f64) -> f64 {
        SIZE.1 - MARGIN.3 - self.y.place(value) * (SIZE.1 - MARGIN.2 - MARGIN.3)
    }

    fn put(&mut self, part: core::fmt::Arguments<'_>) {
        let _ = self.svg.write_fmt(part);
    }

    fn mark(&mut self, Mark(value, label): &Mark) {
        let at = self.across(*value);
        let (anchor, by) = if self.x.place(*value) > 0.8 { ("end", -5.0) } else { ("start", 5.0) };
        let (top, floor) = (MARGIN.2 - 8.0, SIZE.1 - MARGIN.3);
        self.put(format_args!(
            "<path class=\"mark\" d=\"M{at:.1} {top:.1}V{floor:.1}\"/>\
             <text class=\"marked\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            at + by,
            top + 6.0,
            escape(label)
        ));
    }

    fn done(mut self) -> String {
        self.svg.push_str("</svg>");
        self.svg
    }
}

/// A histogram.
pub(super) fn bars(bins: &Bins, unit: &str, marks: &[Mark]) -> String {
    let all: u64 = bins.counts.iter().sum::<u64>().max(1);
    let most = bins.counts.iter().copied().max().unwrap_or_default() as f64 / all as f64;
    let whole = bins.width == 1.0;
    // A bar of whole numbers stands on its number.
    let half = if whole { 0.5 } else { 0.0 };
    // A single bar, or a few, would be as wide as the chart.
    let count = bins.counts.len().max(if whole { 8 } else { 12 }) as f64;
    let spare = libm::floor((count - bins.counts.len() as f64) / 2.0) * bins.width;
    let low = (bins.from - spare).max(0.0) - half;
    let x = Axis::new(low, low + count * bins.width, (9.0, if whole { 1.0 } else { 0.0 }), unit);
    let y = Axis::new(0.0, most, (4.0, 0.0), "").rounded();
    let mut canvas = Canvas::new(x, y, |share| format!("{} %", number(libm::round(share * 1e4) / 100.0)));
    for (at, &count) in bins.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let from = bins.from + at as f64 * bins.width;
        let share = count as f64 / all as f64;
        let (left, right) = (canvas.across(from - half), canvas.across(from - half + bins.width));
        let (top, floor) = (canvas.high(share), canvas.high(0.0));
        let gap = ((right - left) * 0.14).min(3.0);
        let range = if whole { number(from) } else { format!("{} to {}", number(from), number(from + bins.width)) };
        canvas.put(format_args!(
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"1.5\">\
             <title>{range} {unit}: {} ({})</title></rect>",
            left + gap / 2.0,
            right - left - gap,
            (floor - top).max(1.0),
            number(count as f64),
            percent(share)
        ));
    }
    marks.iter().for_each(|mark| canvas.mark(mark));
    canvas.done()
}

/// A share that grows in steps.
pub(super) fn steps(points: &[(f64, f64)], unit: &str, marks: &[Mark]) -> String {
    let end = points.last().map_or(1.0, |(at, _)| *at) * 1.06;
    let (x, y) = (Axis::new(0.0, end, (8.0, 0.0), unit), Axis::new(0.0, 1.0, (4.0, 0.25), ""));
    let mut canvas = Canvas::new(x, y, |share| format!("{:.0} %", share * 100.0));
    let mut line = format!("M{:.1} {:.1}", canvas.across(0.0), canvas.high(0.0));
    for &(at, share) in points {
        let _ = write!(line, "H{:.1}V{:.1}", canvas.across(at), canvas.high(share));
    }
    let _ = write!(line, "H{:.1}", canvas.across(end));
    filled(&mut canvas, &line, end);
    marks.iter().for_each(|mark| canvas.mark(mark));
    canvas.done()
}

/// Values in order, each against the mean, over `count` peers.
pub(super) fn ranks(sorted: &[f64], count: u64) -> String {
    let most = sorted.last().copied().unwrap_or(1.0).max(1.0);
    let x =
        Axis::new(0.0, 100.0, (10.0, 10.0), format!("per cent of {} peers, the idlest first", number(count as f64)));
    let y = Axis::new(0.0, most, (4.0, 0.0), "").rounded();
    let mut canvas = Canvas::new(x, y, |times| format!("{}×", number(times)));
    let last = sorted.len().saturating_sub(1).max(1) as f64;
    let mut line = String::new();
    for (at, &value) in sorted.iter().enumerate() {
        let verb = if at == 0 { 'M' } else { 'L' };
        let _ = write!(line, "{verb}{:.1} {:.1}", canvas.across(at as f64 / last * 100.0), canvas.high(value));
    }
    filled(&mut canvas, &line, 100.0);
    let (mean, left, right) = (canvas.high(1.0), MARGIN.0, SIZE.0 - MARGIN.1);
    canvas.put(format_args!(
        "<path class=\"mark\" d=\"M{left:.1} {mean:.1}H{right:.1}\"/>\
         <text class=\"marked\" x=\"{:.1}\" y=\"{:.1}\">mean</text>",
        left + 5.0,
        mean - 5.0
    ));
    canvas.done()
}

/// A line, and what is below it.
fn filled(canvas: &mut Canvas, line: &str, end: f64) {
    let (left, right, floor) = (canvas.across(0.0), canvas.across(end), canvas.high(0.0));
    canvas.put(format_args!(
        "<path class=\"area\" d=\"{line}L{right:.1} {floor:.1}H{left:.1}Z\"/><path class=\"curve\" d=\"{line}\"/>"
    ));
}

/// Kinds of frames by bytes, the heaviest first.
pub(super) fn kinds(kinds: &[Kind]) -> String {
    let mut sorted: Vec<&Kind> = kinds.iter().collect();
    sorted.sort_by_key(|kind| core::cmp::Reverse(kind.bytes));
    let most = sorted.first().map_or(1, |kind| kind.bytes).max(1) as f64;
    let mut rows = String::from("<div class=\"kinds\">");
    for kind in sorted {
        let class = if crate::traffic::is_payload(kind.name) { " class=\"payload\"" } else { "" };
        let _ = write!(
            rows,
            "<span>{}</span><span><i{class} style=\"width:{:.1}%\"></i></span><span>{}</span><span>{} frames</span>",
            escape(kind.name),
            kind.bytes as f64 / most * 100.0,
            bytes(kind.bytes as f64),
            number(kind.frames as f64)
        );
    }
    rows.push_str("</div>");
    rows
}
