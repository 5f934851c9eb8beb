//! Drives the program as it is built.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod arguments;
mod cuts;
mod demo;
mod interop;
mod json;
mod load;
mod manual;
mod peers;
mod proxy;
mod rates;
mod reload;
mod servers;
mod slow_reader;
mod support;
mod tls;
mod truncation;
mod unix;
