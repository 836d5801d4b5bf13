//! The attribute macros of the crate `tasuki`; use them from there.
