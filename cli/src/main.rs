//! The program `bev`.
fn main() {}
