//! Ours and a real MassTransit on one broker, each direction by itself.
//!
//! `make interop` runs this where the program in `interop/` is built.

mod support;
mod values;
