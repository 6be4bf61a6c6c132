//! The commands, one file each; those that look at or steer a running node go through its control socket.

pub(crate) mod change;
pub(crate) mod conform;
pub(crate) mod demo;
pub(crate) mod get;
pub(crate) mod grant;
pub(crate) mod id;
pub(crate) mod look;
pub(crate) mod new_topology;
pub(crate) mod node;
pub(crate) mod recommend;
pub(crate) mod records;
pub(crate) mod share;
pub(crate) mod sim;
pub(crate) mod verbs;

/// How a command ended, if it did not fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// It did what it was asked for.
    Done,
    /// It did what it was asked for, and the answer is no; it has been printed.
    Refused,
    /// Somebody interrupted it.
    Interrupted,
}
