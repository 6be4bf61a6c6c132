//! Numbers as people read them, and the ticks of an axis.

use crate::report::round_up;

/// A number with few digits, thousands set apart.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let digits = match size {
        _ if value == libm::round(value) => 0,
        _ if size >= 1000.0 => 0,
        _ if size >= 100.0 => 1,
        _ if size >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), ""), |(whole, fraction)| (whole, fraction));
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction}", grouped(whole))
}

fn grouped(whole: &str) -> String {
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("−", digits));
    let mut text = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len() > 4 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that fits.
pub(super) fn bytes(count: f64) -> String {
    let mut size = count;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return format!("{} {unit}", number(libm::round(size * 10.0) / 10.0));
        }
        size /= 1024.0;
    }
    format!("{} TiB", number(libm::round(size * 10.0) / 10.0))
}

/// A count in thousands or millions.
pub(super) fn short(count: f64) -> String {
    match count {
        _ if count >= 1e6 => format!("{:.2} M", count / 1e6),
        _ if count >= 1e4 => format!("{:.0} k", count / 1e3),
        _ => number(libm::round(count)),
    }
}

/// A share as per cent, with as many digits as tell it from all and from nothing.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let off = (100.0 - percent).min(percent);
    match off {
        _ if off <= 0.0 => format!("{percent:.0} %"),
        _ if off < 0.01 => format!("{percent:.4} %"),
        _ if off < 0.1 => format!("{percent:.3} %"),
        _ if off < 1.0 => format!("{percent:.2} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// Text that is no markup.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// One axis of a chart.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    step: f64,
    pub(super) label: String,
}

impl Axis {
    /// From `low` to `high`, with about `ticks` ticks that are `least` apart at least.
    pub(super) fn new(low: f64, high: f64, (ticks, least): (f64, f64), label: impl Into<String>) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, step: round_up((high - low) / ticks).max(least), label: label.into() }
    }

    /// The same, ended by a tick.
    pub(super) fn rounded(mut self) -> Self {
        self.high = libm::ceil(self.high / self.step - 1e-9) * self.step;
        self
    }

    pub(super) fn ticks(&self) -> impl Iterator<Item = f64> {
        let (first, step, high) = (libm::ceil(self.low / self.step - 1e-9), self.step, self.high);
        (0..).map(move |at| (first + f64::from(at)) * step).take_while(move |tick| *tick <= high + step * 1e-6)
    }

    /// Where a value is, 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        assert_eq!(number(6.880_4), "6.88");
        assert_eq!(number(20_000.0), "20\u{202f}000");
        assert_eq!(number(1_234_567.8), "1\u{202f}234\u{202f}568");
        assert_eq!(number(0.0012), "0.0012");
        assert_eq!(number(-3.0), "−3");
        assert_eq!(bytes(1536.0), "1.5 KiB");
        assert_eq!(short(2_340_000.0), "2.34 M");
        assert_eq!(percent(0.99996), "99.9960 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(escape("<a & \"b\">"), "&lt;a &amp; &quot;b&quot;&gt;");
    }

    #[test]
    fn ticks_are_round_and_within() {
        let ticks: Vec<f64> = Axis::new(0.0, 23.0, (5.0, 0.0), "").ticks().collect();
        assert_eq!(ticks, [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(Axis::new(0.0, 23.0, (5.0, 0.0), "").rounded().ticks().last(), Some(25.0));
    }
}
