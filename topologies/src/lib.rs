//! Placeholder while the room is laid.
