//! Settings as users write them: `key=value`.
//!
//! A topology's configuration implements [`Configure`]: a table of what may be set, each row with the field it sets.

use core::fmt::{self, Debug, Display};
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

/// A [`Setting`], and how a configuration takes it up.
pub struct Knob<C> {
    /// What is shown of it.
    pub setting: Setting,
    turn: Turn<C>,
}

type Turn<C> = Box<dyn Fn(&mut C, &str, &str) -> Result<(), SettingError>>;

impl<C> fmt::Debug for Knob<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.setting, f)
    }
}

impl<C: 'static> Knob<C> {
    /// Whatever `read` makes of a key and its value.
    pub fn new<V: 'static>(
        setting: Setting,
        field: fn(&mut C) -> &mut V,
        read: impl Fn(&str, &str) -> Result<V, SettingError> + 'static,
    ) -> Self {
        let turn = Box::new(move |config: &mut C, key: &str, value: &str| {
            *field(config) = read(key, value)?;
            Ok(())
        });
        Self { setting, turn }
    }

    /// A number within bounds.
    pub fn number<N: FromStr + PartialOrd + Display + 'static>(
        key: &'static str,
        default: &'static str,
        help: &'static str,
        bounds: RangeInclusive<N>,
        field: fn(&mut C) -> &mut N,
    ) -> Self {
        Self::new(Setting::new(key, default, help), field, move |key, value| number(key, value, &bounds))
    }

    /// A duration in seconds, such as `30` or `0.5`, up to [`LONGEST`].
    pub fn seconds(
        key: &'static str,
        default: &'static str,
        help: &'static str,
        field: fn(&mut C) -> &mut Duration,
    ) -> Self {
        Self::new(Setting::new(key, default, help), field, seconds)
    }

    /// One of a few words.
    pub fn one_of<V: Copy + 'static>(
        key: &'static str,
        default: &'static str,
        help: &'static str,
        words: &'static [(&'static str, V)],
        field: fn(&mut C) -> &mut V,
    ) -> Self {
        Self::new(Setting::new(key, default, help), field, move |key, value| one_of(key, value, words))
    }

    /// The same of a configuration that has this one inside.
    pub fn within<D: 'static>(self, inside: fn(&mut D) -> &mut C) -> Knob<D> {
        let Self { setting, turn } = self;
        Knob { setting, turn: Box::new(move |config: &mut D, key: &str, value: &str| turn(inside(config), key, value)) }
    }
}

/// A configuration that can be set by name.
pub trait Configure: Default + 'static {
    /// What may be set and how, in the order it is shown.
    fn table() -> Vec<Knob<Self>>;

    /// What may be set.
    fn settings() -> Vec<Setting> {
        Self::table().into_iter().map(|knob| knob.setting).collect()
    }

    /// Sets one of them.
    ///
    /// # Errors
    /// Both variants of [`SettingError`].
    fn set(&mut self, key: &str, value: &str) -> Result<(), SettingError> {
        let knob = Self::table().into_iter().find(|knob| knob.setting.key == key);
        knob.map_or_else(|| Err(SettingError::Unknown(key.into())), |knob| (knob.turn)(self, key, value))
    }
}

/// The configuration of a topology on another: the upper one's settings first, then the lower one's.
impl<U: Configure, B: Configure> Configure for (U, B) {
    fn table() -> Vec<Knob<Self>> {
        let upper = U::table().into_iter().map(|knob| knob.within(|(upper, _): &mut Self| upper));
        let base = B::table().into_iter().map(|knob| knob.within(|(_, base): &mut Self| base));
        upper.chain(base).collect()
    }
}

fn number<N: FromStr + PartialOrd + Display>(
    key: &str,
    value: &str,
    bounds: &RangeInclusive<N>,
) -> Result<N, SettingError> {
    match value.parse() {
        Ok(number) if bounds.contains(&number) => Ok(number),
        _ => Err(SettingError::bad(key, value, format!("a number from {} to {}", bounds.start(), bounds.end()))),
    }
}

fn seconds(key: &str, value: &str) -> Result<Duration, SettingError> {
    match value.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= LONGEST.as_secs_f64() => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(SettingError::bad(key, value, format!("a number of seconds up to {}", LONGEST.as_secs()))),
    }
}

fn one_of<V: Copy>(key: &str, value: &str, words: &[(&str, V)]) -> Result<V, SettingError> {
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
        assert_eq!(number("k", "20", &(1..=255)), Ok(20));
        for value in ["0", "256", "-1", "many", ""] {
            let refused = number::<i32>("k", value, &(1..=255)).unwrap_err();
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
