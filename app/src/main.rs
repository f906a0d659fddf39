//! The program `netglance`.
fn main() {}
