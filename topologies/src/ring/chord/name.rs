//! Virtual nodes by name, and how messages name them.
//!
//! A peer stands at as many places of the ring as it has virtual nodes, and each place is a hash of its Guid and an
//! index: nobody can choose one, and whoever knows the Guid knows them all. So a name is a Guid and an index. Messages
//! hold the Guids; the indices travel beside them as raw bytes: the speaker's, the addressee's, then one for each Guid
//! in the order of the message. Where everybody has one virtual node nothing travels beside.

use bytes::Bytes;
use polymorph_core::Guid;

use super::Message;

/// A virtual node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Name {
    pub(super) guid: Guid,
    pub(super) index: u8,
}

/// A message from one virtual node to another.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// Which of the speaker's.
    pub(super) from: u8,
    /// Which of the addressee's.
    pub(super) to: u8,
    pub(super) message: Message<Name>,
}

impl Letter {
    /// As it goes over the wire on a ring on which everybody has so many.
    pub(super) fn seal(self, virtual_nodes: u8) -> (Message, Bytes) {
        if virtual_nodes == 1 {
            return (self.message.map(|name| name.guid), Bytes::new());
        }
        let mut beside = vec![self.from, self.to];
        let message = self.message.map(|name| {
            beside.push(name.index);
            name.guid
        });
        (message, beside.into())
    }

    /// As it came. `None` if the indices are not one for each Guid, or name virtual nodes that nobody has here.
    pub(super) fn open(message: Message, beside: &[u8], virtual_nodes: u8) -> Option<Self> {
        if virtual_nodes == 1 {
            let message = message.map(|guid| Name { guid, index: 0 });
            return beside.is_empty().then_some(Self { from: 0, to: 0, message });
        }
        let &[from, to, ref named @ ..] = beside else { return None };
        let mut indices = named.iter().copied();
        let mut missing = false;
        let message = message.map(|guid| {
            let index = indices.next();
            missing |= index.is_none();
            Name { guid, index: index.unwrap_or_default() }
        });
        let good = !missing && indices.next().is_none() && beside.iter().all(|index| *index < virtual_nodes);
        good.then_some(Self { from, to, message })
    }
}

impl<P> Message<P> {
    /// The same message with everybody in it named another way, the predecessor first.
    fn map<Q>(self, mut name: impl FnMut(P) -> Q) -> Message<Q> {
        match self {
            Self::Ask => Message::Ask,
            Self::State { predecessor, successors } => {
                let predecessor = predecessor.map(&mut name);
                Message::State { predecessor, successors: successors.into_iter().map(name).collect() }
            }
            Self::Absent => Message::Absent,
            Self::Notify => Message::Notify,
            Self::Between => Message::Between,
            Self::Leaving { predecessor, successors } => {
                let predecessor = predecessor.map(&mut name);
                Message::Leaving { predecessor, successors: successors.into_iter().map(name).collect() }
            }
            Self::Ping => Message::Ping,
            Self::Pong => Message::Pong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u8, index: u8) -> Name {
        Name { guid: Guid([number; 32]), index }
    }

    fn state(names: &[Name]) -> Message<Name> {
        Message::State { predecessor: names.first().copied(), successors: names.get(1..).unwrap_or_default().to_vec() }
    }

    #[test]
    fn what_is_sealed_is_opened_again() {
        for count in 0..5 {
            let names: Vec<Name> = (0..count).map(|number| name(number, number * 2)).collect();
            let (message, beside) = Letter { from: 3, to: 7, message: state(&names) }.seal(9);
            assert_eq!(beside.len(), 2 + names.len());
            let letter = Letter::open(message, &beside, 9).expect("it is good");
            assert_eq!((letter.from, letter.to), (3, 7));
            assert_eq!(format!("{:?}", letter.message), format!("{:?}", state(&names)));
        }
    }

    #[test]
    fn one_virtual_node_each_costs_not_a_byte() {
        let (message, beside) = Letter { from: 0, to: 0, message: state(&[name(1, 0), name(2, 0)]) }.seal(1);
        assert!(beside.is_empty() && Letter::open(message.clone(), &beside, 1).is_some());
        assert!(Letter::open(message, &[0, 0, 0, 0], 1).is_none(), "nobody has several here");
    }

    #[test]
    fn indices_that_are_too_few_too_many_or_too_large_are_refused() {
        let (message, beside) = Letter { from: 0, to: 1, message: state(&[name(1, 2), name(2, 0)]) }.seal(3);
        let open = |beside: &[u8]| Letter::open(message.clone(), beside, 3);
        assert!(open(&beside).is_some());
        assert!((0..beside.len()).all(|len| open(&beside[..len]).is_none()));
        assert!(open(&[&beside[..], &[0]].concat()).is_none());
        for at in 0..beside.len() {
            let mut forged = beside.to_vec();
            forged[at] = 3;
            assert!(open(&forged).is_none(), "index {at}");
        }
    }
}
