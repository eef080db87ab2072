//! The cupola binary.
fn main() {}
