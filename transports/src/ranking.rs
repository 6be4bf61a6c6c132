//! Which of a contact's addresses to try, and when: "happy eyeballs" (RFC 8305) over kinds of wire.
//!
//! Pure: no clock, no socket. [`order`] sorts addresses, a [`Schedule`] says when each is due; a
//! [`Dialer`](crate::Dialer) executes it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use polymorph_core::TransportAddress;

/// Which wire to prefer where several reach the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Preference {
    /// TCP before QUIC: bulk costs a third of the CPU.
    #[default]
    Bulk,
    /// QUIC before TCP: datagrams, NATs, changing networks.
    Mobility,
}

/// How a [`Schedule`] paces itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// How long an attempt has for itself before the next joins it ("Connection Attempt Delay", RFC 8305 §5: 250 ms).
    pub stagger: Duration,
    /// How many attempts may be under way at once, at least 1.
    pub parallel: usize,
    /// When the whole is given up.
    pub timeout: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { stagger: Duration::from_millis(250), parallel: 4, timeout: Duration::from_secs(15) }
    }
}

/// Sorts addresses by promise, duplicates left out. Nearest first: this process, this machine, then the rest. Among
/// equally near ones the first address of every kind and family comes before the second of any, preferred kinds
/// first and each kind's families in the order its owner gave; within a kind and family the owner's order stays.
#[must_use]
pub fn order(addresses: &[TransportAddress], preference: Preference) -> Vec<TransportAddress> {
    let mut lanes: Vec<(Lane, Vec<TransportAddress>)> = Vec::new();
    for address in addresses {
        let lane = Lane::of(address, preference);
        match lanes.iter_mut().find(|(known, _)| *known == lane) {
            Some((_, lane)) if lane.contains(address) => {}
            Some((_, lane)) => lane.push(address.clone()),
            None => lanes.push((lane, vec![address.clone()])),
        }
    }
    // Stable: of two families of one kind the one named first stays first.
    lanes.sort_by_key(|(lane, _)| (lane.distance, lane.kind));
    let mut ordered = Vec::new();
    for near in lanes.chunk_by_mut(|(a, _), (b, _)| a.distance == b.distance) {
        let longest = near.iter().map(|(_, lane)| lane.len()).max().unwrap_or(0);
        for round in 0..longest {
            ordered.extend(near.iter().filter_map(|(_, lane)| lane.get(round).cloned()));
        }
    }
    ordered
}

/// Addresses that compete on equal terms.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Lane {
    distance: u8,
    kind: u8,
    family: u8,
}

impl Lane {
    fn of(address: &TransportAddress, preference: Preference) -> Self {
        let (tcp, quic) = match preference {
            Preference::Bulk => (1, 2),
            Preference::Mobility => (2, 1),
        };
        let socket = |kind, at: &SocketAddr| Self {
            distance: if at.ip().is_loopback() { 2 } else { 3 },
            kind,
            family: u8::from(at.is_ipv6()),
        };
        match address {
            TransportAddress::Memory(_) => Self { distance: 0, kind: 0, family: 0 },
            TransportAddress::Unix(_) => Self { distance: 1, kind: 0, family: 0 },
            TransportAddress::Tcp(at) => socket(tcp, at),
            TransportAddress::Quic(at) => socket(quic, at),
            TransportAddress::Unknown { .. } => Self { distance: 4, kind: 0, family: 0 },
        }
    }
}

/// What to do now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Begin dialing this address.
    Dial(TransportAddress),
    /// Nothing before this time, unless an attempt fails earlier.
    Wait(Duration),
    /// Give up whatever is under way: the time is over, or every attempt has failed.
    GiveUp,
}

/// When to try which address. Times are durations since the beginning.
#[derive(Clone, Debug)]
pub struct Schedule {
    waiting: VecDeque<TransportAddress>,
    running: usize,
    next: Duration,
    pace: Pace,
}

impl Schedule {
    /// For addresses in the order they are to be tried.
    #[must_use]
    pub fn new(ordered: Vec<TransportAddress>, pace: Pace) -> Self {
        Self { waiting: ordered.into(), running: 0, next: Duration::ZERO, pace }
    }

    /// What to do at `now`. Ask again after every [`Step::Dial`], when the time of a [`Step::Wait`] has come, and
    /// after [`Self::failed`].
    pub fn step(&mut self, now: Duration) -> Step {
        let exhausted = self.waiting.is_empty() && self.running == 0;
        if exhausted || now >= self.pace.timeout {
            return Step::GiveUp;
        }
        if self.waiting.is_empty() || self.running >= self.pace.parallel.max(1) {
            return Step::Wait(self.pace.timeout);
        }
        if now < self.next {
            return Step::Wait(self.next.min(self.pace.timeout));
        }
        match self.waiting.pop_front() {
            Some(address) => {
                self.running += 1;
                self.next = now + self.pace.stagger;
                Step::Dial(address)
            }
            None => Step::Wait(self.pace.timeout),
        }
    }

    /// An attempt has failed: the next need not wait for its turn (RFC 8305 §5).
    pub fn failed(&mut self) {
        self.running = self.running.saturating_sub(1);
        self.next = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(words: &[&str]) -> Vec<TransportAddress> {
        words.iter().map(|word| word.parse().unwrap()).collect()
    }

    fn ordered(words: &[&str], preference: Preference) -> Vec<String> {
        order(&parse(words), preference).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_nearest_come_first_whatever_their_kind() {
        let given = ["tcp://192.0.2.1:1", "quic://127.0.0.1:2", "unix:/run/x", "mem:a", "tcp://[::1]:3"];
        let wanted = ["mem:a", "unix:/run/x", "tcp://[::1]:3", "quic://127.0.0.1:2", "tcp://192.0.2.1:1"];
        assert_eq!(ordered(&given, Preference::Bulk), wanted);
    }

    #[test]
    fn kinds_and_families_take_turns_and_the_preferred_kind_begins() {
        let given = [
            "quic://192.0.2.1:1",
            "tcp://192.0.2.1:1",
            "tcp://192.0.2.2:1",
            "tcp://[2001:db8::1]:1",
            "quic://[2001:db8::1]:1",
            "tcp://192.0.2.1:1",
        ];
        let bulk = [
            "tcp://192.0.2.1:1",
            "tcp://[2001:db8::1]:1",
            "quic://192.0.2.1:1",
            "quic://[2001:db8::1]:1",
            "tcp://192.0.2.2:1",
        ];
        assert_eq!(ordered(&given, Preference::Bulk), bulk);
        assert_eq!(ordered(&given, Preference::Mobility)[0], "quic://192.0.2.1:1");
    }

    #[test]
    fn attempts_are_staggered_and_a_failure_brings_the_next_forward() {
        let ms = Duration::from_millis;
        let addresses = parse(&["mem:a", "mem:b", "mem:c", "mem:d"]);
        let pace = Pace { stagger: ms(250), parallel: 2, timeout: ms(5000) };
        let mut schedule = Schedule::new(addresses.clone(), pace);
        assert_eq!(schedule.step(ms(0)), Step::Dial(addresses[0].clone()));
        assert_eq!(schedule.step(ms(0)), Step::Wait(ms(250)));
        assert_eq!(schedule.step(ms(250)), Step::Dial(addresses[1].clone()));
        assert_eq!(schedule.step(ms(500)), Step::Wait(ms(5000)), "two are under way");
        schedule.failed();
        assert_eq!(schedule.step(ms(501)), Step::Dial(addresses[2].clone()));
        schedule.failed();
        schedule.failed();
        assert_eq!(schedule.step(ms(502)), Step::Dial(addresses[3].clone()));
        assert_eq!(schedule.step(ms(503)), Step::Wait(ms(5000)));
        schedule.failed();
        assert_eq!(schedule.step(ms(504)), Step::GiveUp);
    }

    fn any_address() -> impl Strategy<Value = TransportAddress> {
        let socket = (any::<std::net::IpAddr>(), 0u16..4).prop_map(SocketAddr::from);
        prop_oneof![
            socket.clone().prop_map(TransportAddress::Tcp),
            socket.prop_map(TransportAddress::Quic),
            "[a-c]".prop_map(TransportAddress::Memory),
            "[a-c]".prop_map(TransportAddress::Unix),
        ]
    }

    proptest! {
        #[test]
        fn every_address_is_tried_once_and_never_too_many_at_a_time(
            addresses in prop::collection::vec(any_address(), 0..20),
            fails in prop::collection::vec(any::<bool>(), 200),
            parallel in 0usize..5,
        ) {
            let pace = Pace { parallel, ..Pace::default() };
            let mut schedule = Schedule::new(order(&addresses, Preference::Bulk), pace);
            let (mut now, mut running, mut tried) = (Duration::ZERO, 0, Vec::new());
            for fail in fails {
                match schedule.step(now) {
                    Step::Dial(address) => {
                        prop_assert!(!tried.contains(&address));
                        tried.push(address);
                        running += 1;
                        prop_assert!(running <= parallel.max(1));
                    }
                    Step::Wait(until) => {
                        prop_assert!(until > now);
                        if fail && running > 0 || until >= pace.timeout {
                            schedule.failed();
                            running -= 1;
                        } else {
                            now = until;
                        }
                    }
                    Step::GiveUp => break,
                }
            }
            prop_assert_eq!(schedule.step(now), Step::GiveUp);
            let mut wanted = addresses;
            wanted.sort();
            wanted.dedup();
            tried.sort();
            prop_assert_eq!(tried, wanted);
        }
    }
}
