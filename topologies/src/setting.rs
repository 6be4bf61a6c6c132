//! Settings as users write them: `key=value`.
//!
//! A topology's configuration implements [`Configure`]: a table of what may be set, and one `match` that sets it.

use core::fmt::Display;
use core::ops::RangeInclusive;
use core::str::FromStr;
use core::time::Duration;

/// One thing that may be set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Its name.
    pub key: &'static str,
    /// What it is when nobody sets it, as a user would write it.
    pub default: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
}

impl Setting {
    /// One row of a table of settings.
    #[must_use]
    pub const fn new(key: &'static str, default: &'static str, help: &'static str) -> Self {
        Self { key, default, help }
    }
}

/// Why a setting is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettingError {
    /// There is no such setting.
    #[error("there is no setting {0:?}")]
    Unknown(String),
    /// The value is out of range, or not of the kind asked for.
    #[error("{key}={value} is no good: {key} is {expected}")]
    Bad {
        /// Which setting.
        key: String,
        /// What was written.
        value: String,
        /// What would be accepted.
        expected: String,
    },
}

impl SettingError {
    fn bad(key: &str, value: &str, expected: impl Into<String>) -> Self {
        Self::Bad { key: key.into(), value: value.into(), expected: expected.into() }
    }
}

/// A configuration that can be set by name.
pub trait Configure: Default {
    /// What may be set, in the order it is shown.
    fn settings() -> Vec<Setting>;

    /// Sets one of them.
    ///
    /// # Errors
    /// Both variants of [`SettingError`].
    fn set(&mut self, key: &str, value: &str) -> Result<(), SettingError>;
}

/// The configuration of a topology on another: the upper one's settings first, then the lower one's.
impl<U: Configure, B: Configure> Configure for (U, B) {
    fn settings() -> Vec<Setting> {
        let mut all = U::settings();
        all.extend(B::settings());
        all
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), SettingError> {
        match self.0.set(key, value) {
            Err(SettingError::Unknown(_)) => self.1.set(key, value),
            set => set,
        }
    }
}

/// A number within bounds.
///
/// # Errors
/// [`SettingError::Bad`].
pub fn number<N: FromStr + PartialOrd + Display>(
    key: &str,
    value: &str,
    bounds: RangeInclusive<N>,
) -> Result<N, SettingError> {
    match value.parse() {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => Err(SettingError::bad(key, value, format!("a number from {} to {}", bounds.start(), bounds.end()))),
    }
}

/// A duration in seconds, such as `30` or `0.5`, up to [`LONGEST`].
///
/// # Errors
/// [`SettingError::Bad`].
pub fn seconds(key: &str, value: &str) -> Result<Duration, SettingError> {
    match value.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= LONGEST.as_secs_f64() => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(SettingError::bad(key, value, format!("a number of seconds up to {}", LONGEST.as_secs()))),
    }
}

/// One of a few words.
///
/// # Errors
/// [`SettingError::Bad`].
pub fn one_of<V: Copy>(key: &str, value: &str, words: &[(&str, V)]) -> Result<V, SettingError> {
    words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        SettingError::bad(key, value, known.join(" or "))
    })
}

/// The longest duration a setting may have: a day. A timer beyond that is a typo.
pub const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Checks that what a table of settings says of defaults is true: for the tests of each topology.
#[cfg(test)]
pub(crate) fn assert_defaults_hold<C: Configure + PartialEq + core::fmt::Debug>() {
    for setting in C::settings() {
        let mut config = C::default();
        config.set(setting.key, setting.default).unwrap();
        assert_eq!(config, C::default(), "the default of {} is not {}", setting.key, setting.default);
        assert!(config.set(setting.key, "what").is_err(), "{} takes anything", setting.key);
    }
    assert_eq!(C::default().set("what", "1"), Err(SettingError::Unknown("what".into())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_or_no_number_is_refused_with_what_would_do() {
        assert_eq!(number("k", "20", 1..=255), Ok(20));
        for value in ["0", "256", "-1", "many", ""] {
            let refused = number::<i32>("k", value, 1..=255).unwrap_err();
            assert_eq!(refused.to_string(), format!("k={value} is no good: k is a number from 1 to 255"));
        }
        for value in ["0", "-1", "NaN", "inf", "1e300"] {
            assert!(seconds("period", value).is_err(), "{value}");
        }
        assert_eq!(seconds("period", "0.5"), Ok(Duration::from_millis(500)));
        let refused = one_of("way", "up", &[("left", 1), ("right", 2)]).unwrap_err();
        assert_eq!(refused.to_string(), "way=up is no good: way is left or right");
    }
}
