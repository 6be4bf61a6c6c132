//! The rows a benchmark prints: a figure, its baseline from the same run, their ratio, and the target.

/// What a ratio should be.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "no benchmark needs all of them")]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Nothing is asked of it.
    Open,
}

impl Target {
    fn text(self, ratio: f64) -> String {
        let (bound, met) = match self {
            Self::AtLeast(least) => (format!(">= {least}"), ratio >= least),
            Self::AtMost(most) => (format!("<= {most}"), ratio <= most),
            Self::Open => return String::new(),
        };
        format!("{bound} {}", if met { "met" } else { "MISSED" })
    }
}

/// Begins a table.
pub(crate) fn heading(title: &str) {
    println!("\n{title}");
    println!("  {:<46} {:>16} {:>16} {:>8}  target", "what", "figure", "baseline", "ratio");
}

/// One line of it.
pub(crate) fn row(what: &str, figure: &str, baseline: &str, ratio: f64, target: Target) {
    println!("  {what:<46} {figure:>16} {baseline:>16} {ratio:>8.3}  {}", target.text(ratio));
}

/// The middle one.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Whether `cargo bench` runs this. Anything else, `cargo test --benches` for instance, only sees that it works.
pub(crate) fn in_earnest() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}
