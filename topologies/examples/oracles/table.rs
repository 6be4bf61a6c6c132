//! The table that is printed: what the paper says, what is expected of us, what is measured here, and whether that is
//! near enough.

use core::ops::RangeInclusive;

/// A figure to compare ours with, and how it is known.
#[derive(Clone, Copy)]
pub(crate) enum Paper {
    /// Nobody names one.
    Silent,
    /// Read in the paper's text.
    Read(f64),
    /// Read off a plot of the paper.
    Plotted(f64),
    /// The paper's from memory: nothing is ever held against it.
    Remembered(f64),
    /// The paper has none; recomputed by an independent simulation of ideal tables.
    Recomputed(f64),
}

/// What ours has to be.
pub(crate) enum Gate {
    /// Anything: the row is only shown.
    Open,
    /// So much, give or take so much.
    Near(f64, f64),
    /// So much, and somewhere in this range.
    In(f64, RangeInclusive<f64>),
}

/// The rows so far.
#[derive(Default)]
pub(crate) struct Table {
    /// How many had to be something.
    pub(crate) gated: usize,
    /// How many of them were not.
    pub(crate) missed: usize,
}

impl Gate {
    /// So much, give or take a share of it.
    pub(crate) fn share(expected: f64, share: f64) -> Self {
        Self::Near(expected, share * expected)
    }
}

impl Table {
    pub(crate) fn begin() -> Self {
        println!(
            "P: read in the paper, P~: read off its plot, M: the paper's from memory, C: recomputed, the paper has none."
        );
        line(["", "paper", "", "expected", "tolerance", "ours", "difference", ""]);
        Self::default()
    }

    pub(crate) fn row(&mut self, what: &str, paper: Paper, gate: Gate, ours: f64) {
        let (figure, kind) = match paper {
            Paper::Silent => (None, ""),
            Paper::Read(figure) => (Some(figure), "P"),
            Paper::Plotted(figure) => (Some(figure), "P~"),
            Paper::Remembered(figure) => (Some(figure), "M"),
            Paper::Recomputed(figure) => (Some(figure), "C"),
        };
        let (expected, tolerance, range) = match gate {
            Gate::Open => (None, String::new(), None),
            Gate::Near(expected, by) => (Some(expected), format!("± {by:.3}"), Some(expected - by..=expected + by)),
            Gate::In(expected, range) => {
                (Some(expected), format!("{:.2} to {:.2}", range.start(), range.end()), Some(range))
            }
        };
        let verdict = match range.map(|range| range.contains(&ours)) {
            None => "",
            Some(true) => "within",
            Some(false) => "MISSED",
        };
        self.gated += usize::from(!verdict.is_empty());
        self.missed += usize::from(verdict == "MISSED");
        let cell = |figure: Option<f64>| figure.map(|figure| format!("{figure:.3}")).unwrap_or_default();
        let apart = expected.or(figure).map(|other| format!("{:+.3}", ours - other)).unwrap_or_default();
        line([what, &cell(figure), kind, &cell(expected), &tolerance, &cell(Some(ours)), &apart, verdict]);
    }
}

fn line([what, paper, kind, expected, tolerance, ours, difference, verdict]: [&str; 8]) {
    let line =
        format!("{what:<74} {paper:>8} {kind:<2} {expected:>8} {tolerance:>14} {ours:>8} {difference:>10} {verdict}");
    println!("{}", line.trim_end());
}
