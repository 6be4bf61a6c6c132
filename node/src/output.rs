//! What is printed: lines for people or JSON for scripts on standard output, progress on standard error.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use polymorph::media::fetch::Progress;
use serde_json::{Value, json};

/// How many times a second progress is told at most.
const PROGRESS_PER_SECOND: u32 = 4;

/// For whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// People.
    Human,
    /// Scripts: one object per line.
    Json,
}

impl Form {
    /// Prints one line; whoever stopped reading misses it.
    pub(crate) fn say(self, human: impl Display, json: impl FnOnce() -> Value) {
        let mut out = std::io::stdout().lock();
        let _ = match self {
            Self::Human => writeln!(out, "{human}"),
            Self::Json => writeln!(out, "{}", json()),
        };
        let _ = out.flush();
    }

    /// Prints something that only people want to read.
    pub(crate) fn tell(self, human: impl Display) {
        if self == Self::Human {
            let mut out = std::io::stdout().lock();
            let _ = writeln!(out, "{human}").and_then(|()| out.flush());
        }
    }
}

/// A text of somebody else's, which must not steer the terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Says on standard error what whoever runs the program should know although it goes on.
pub(crate) fn warn(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "polymorph: {line}");
}

/// Shows how far a fetch is until it is dropped.
pub(crate) struct Meter {
    form: Form,
    bar: Option<ProgressBar>,
    last: Progress,
}

impl Meter {
    /// A bar on a terminal, lines for scripts, nothing otherwise.
    pub(crate) fn new(form: Form) -> Self {
        let on = form == Form::Human && std::io::stderr().is_terminal();
        let bar = on.then(|| {
            let style = "{bar:32} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} {msg}";
            let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()).with_style(style)
        });
        Self { form, bar, last: Progress::default() }
    }

    /// Shows progress as it is told, for ever.
    pub(crate) async fn follow(
        &mut self,
        mut progress: tokio::sync::watch::Receiver<Progress>,
    ) -> std::convert::Infallible {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / PROGRESS_PER_SECOND);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if progress.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let now = *progress.borrow_and_update();
            self.show(now);
        }
    }

    /// Shows one state.
    pub(crate) fn show(&mut self, now: Progress) {
        let bytes = now.bytes.min(now.total);
        if now == self.last || now.total == 0 {
            return;
        }
        self.last = now;
        if let Some(bar) = &self.bar {
            bar.set_length(now.total);
            bar.set_position(bytes);
            bar.set_message(format!("from {}", now.sources));
        }
        if self.form == Form::Json {
            self.form.say("", || json!({ "event": "progress", "bytes": bytes, "total": now.total }));
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A number of bytes as people read it.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = count as f64;
    let mut unit = "bytes";
    for next in UNITS {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    if unit == "bytes" { format!("{count} bytes") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_said_in_the_unit_that_fits() {
        assert_eq!(super::bytes(1023), "1023 bytes");
        assert_eq!(super::bytes(1536), "1.5 KiB");
        assert_eq!(super::bytes(1 << 30), "1.0 GiB");
    }
}
