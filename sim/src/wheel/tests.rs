use proptest::prelude::*;

use super::*;

/// What the wheel must agree with: a heap of (time, order).
#[derive(Default)]
struct Plain {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    pushed: u64,
}

impl Plain {
    fn push(&mut self, at: u64, item: u32) {
        self.pushed += 1;
        self.heap.push(Reverse((at, self.pushed, item)));
    }

    fn pop_until(&mut self, limit: u64) -> Option<(Time, u32)> {
        let Reverse((at, ..)) = self.heap.peek()?;
        if *at > limit {
            return None;
        }
        self.heap.pop().map(|Reverse((at, _, item))| (Time(at), item))
    }
}

/// Delays as worlds have them, and around every border of the levels: none at all, within a tick, links, timers,
/// turns, ages, and the end of time.
fn delay() -> impl Strategy<Value = u64> {
    let around = |bits: u32| (1u64 << bits).saturating_sub(2)..(1u64 << bits) + 2;
    prop_oneof![
        4 => Just(0u64),
        4 => 0..1u64 << 20,
        4 => 0..1u64 << 27,
        2 => 0..1u64 << 36,
        1 => 0..1u64 << 46,
        1 => around(20),
        1 => around(32),
        1 => around(44),
        1 => Just(u64::MAX),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(u64),
    Pop,
    Run(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![5 => delay().prop_map(Step::Push), 3 => Just(Step::Pop), 1 => delay().prop_map(Step::Run)]
}

proptest! {
    #[test]
    fn everything_happens_in_the_order_a_heap_says(steps in prop::collection::vec(step(), 1..400)) {
        let (mut wheel, mut plain, mut now) = (Wheel::new(), Plain::default(), 0u64);
        for (item, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push(delay) => {
                    let at = now.saturating_add(delay);
                    wheel.push(Time(at), item as u32);
                    plain.push(at, item as u32);
                }
                Step::Pop => {
                    let next = wheel.pop();
                    prop_assert_eq!(next, plain.pop_until(u64::MAX));
                    now = next.map_or(now, |(at, _)| at.0);
                }
                Step::Run(span) => {
                    let limit = now.saturating_add(span);
                    while let Some(next) = wheel.pop_until(Time(limit)) {
                        prop_assert_eq!(Some(next), plain.pop_until(limit));
                    }
                    prop_assert_eq!(plain.pop_until(limit), None);
                    now = limit;
                }
            }
            prop_assert_eq!(wheel.len(), plain.heap.len());
        }
        while let Some(next) = wheel.pop() {
            prop_assert_eq!(Some(next), plain.pop_until(u64::MAX));
        }
        prop_assert_eq!(plain.pop_until(u64::MAX), None);
    }
}

#[test]
fn a_thousand_things_of_one_moment_keep_their_order() {
    let mut wheel = Wheel::new();
    (0..1000u32).for_each(|item| wheel.push(Time::from_secs(9), item));
    let popped: Vec<u32> = std::iter::from_fn(|| wheel.pop()).map(|(_, item)| item).collect();
    assert_eq!(popped, (0..1000).collect::<Vec<_>>());
}

#[test]
fn chunks_are_used_again_so_a_long_run_needs_no_more_than_a_short_one() {
    let mut wheel = Wheel::new();
    (0..10_000u64).for_each(|item| wheel.push(Time(item * 20_000), item));
    let mut held = 0;
    for step in 0..2_000_000u64 {
        let (at, item) = wheel.pop().unwrap();
        wheel.push(Time(at.0 + 50_000_000 + crate::mix::below(crate::mix::mix(1, step), 300_000_000)), item);
        if step == 200_000 {
            held = wheel.bytes();
        }
    }
    assert_eq!(wheel.len(), 10_000);
    assert!(wheel.bytes() <= held + held / 4, "{} bytes after {held}", wheel.bytes());
}
