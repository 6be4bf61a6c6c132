//! A panic as a result: laws find out whether a topology panics, many times, and nobody wants to read them all.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether this thread waits for a panic, and what the last one said.
    static AWAITED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does something; says what it panicked with and where, if it did.
///
/// # Errors
/// What the panic said.
pub(super) fn caught<R>(action: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let awaited = AWAITED.with_borrow_mut(|said| said.as_mut().map(|said| *said = info.to_string()).is_some());
            if !awaited {
                usual(info);
            }
        }));
    });
    let before = AWAITED.replace(Some(String::new()));
    let done = panic::catch_unwind(AssertUnwindSafe(action));
    let said = AWAITED.replace(before).unwrap_or_default();
    done.map_err(|_| said.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_with_its_place_and_the_next_one_too() {
        for number in 0..2 {
            let said = caught(|| assert_eq!(number, 7, "not seven")).expect_err("it panicked");
            assert!(said.contains("not seven") && said.contains("panics.rs"), "{said}");
        }
        assert_eq!(caught(|| 1), Ok(1));
    }
}
