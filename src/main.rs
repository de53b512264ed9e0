//! The firstcome binary.
fn main() {}
