//! Shared by nothing: the examples are one file each.
