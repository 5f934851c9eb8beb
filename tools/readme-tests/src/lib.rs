//! The code in `README.md`, as doctests. Empty otherwise.

#![cfg_attr(doctest, doc = include_str!("../../../README.md"))]
