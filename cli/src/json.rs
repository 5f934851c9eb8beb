//! What is told to machines, at the beginning and at the end: one flat object on one line each.
//!
//! A thing has the same name in all of them. A number that counts no things says in its name what it is of: `bytes`, `seconds`,
//! `us`, `per_second`. What there is not is `null`.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

/// An object under construction.
#[derive(Debug, Default)]
pub(crate) struct Object {
    fields: String,
}

impl Object {
    pub(crate) fn text<'a>(self, name: &str, text: impl Into<Option<&'a str>>) -> Self {
        self.field(name, text.into().map(Text))
    }

    pub(crate) fn count(self, name: &str, n: impl Into<Option<u64>>) -> Self {
        self.field(name, n.into())
    }

    /// Of a second, with one digit behind the point.
    pub(crate) fn rate(self, name: &str, per_second: impl Into<Option<f64>>) -> Self {
        self.field(name, per_second.into().map(|rate| format!("{rate:.1}")))
    }

    pub(crate) fn seconds(self, name: &str, time: impl Into<Option<Duration>>) -> Self {
        self.field(name, time.into().map(|time| format!("{:.3}", time.as_secs_f64())))
    }

    pub(crate) fn micros(self, name: &str, time: impl Into<Option<Duration>>) -> Self {
        self.field(name, time.into().map(|time| format!("{:.1}", time.as_nanos() as f64 / 1e3)))
    }

    /// The line, without its end.
    pub(crate) fn finish(self) -> String {
        format!("{{{}}}", self.fields)
    }

    fn field(mut self, name: &str, value: Option<impl fmt::Display>) -> Self {
        let comma = if self.fields.is_empty() { "" } else { "," };
        let written = match value {
            Some(value) => write!(self.fields, "{comma}\"{name}\":{value}"),
            None => write!(self.fields, "{comma}\"{name}\":null"),
        };
        debug_assert!(written.is_ok(), "a string takes everything");
        self
    }
}

/// A text between quotes.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                control if control.is_control() => write!(f, "\\u{:04x}", u32::from(control))?,
                other => f.write_char(other)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_flat_and_on_one_line() {
        assert_eq!(Object::default().finish(), "{}");
        let object = Object::default()
            .text("name", "a \"b\" \\ \n\u{7f}\u{e9}")
            .count("connections", 3)
            .count("limit", None)
            .rate("bytes_per_second", 1e6 / 3.0)
            .seconds("seconds", Duration::from_millis(1_500))
            .micros("max_us", Duration::from_nanos(1_250))
            .micros("oldest_us", None);
        assert_eq!(
            object.finish(),
            "{\"name\":\"a \\\"b\\\" \\\\ \\u000a\\u007f\u{e9}\",\"connections\":3,\"limit\":null,\
             \"bytes_per_second\":333333.3,\"seconds\":1.500,\"max_us\":1.2,\"oldest_us\":null}"
        );
    }
}
