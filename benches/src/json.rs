//! Just enough JSON for one-line reports: flat objects out, numbers back in.

use std::fmt::Write as _;

/// One JSON object under construction.
#[derive(Clone, Debug, Default)]
pub struct Object {
    fields: String,
}

impl Object {
    /// Creates an empty object.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a string.
    #[must_use]
    pub fn text(self, key: &str, value: &str) -> Self {
        let escaped = escape(value);
        self.raw(key, &format!("\"{escaped}\""))
    }

    /// Adds a whole number.
    #[must_use]
    pub fn count(self, key: &str, value: u64) -> Self {
        self.raw(key, &value.to_string())
    }

    /// Adds a number with at most six decimals; what is not finite becomes `null`.
    #[must_use]
    pub fn number(self, key: &str, value: f64) -> Self {
        self.raw(key, &number(value))
    }

    /// Adds a list of numbers.
    #[must_use]
    pub fn numbers(self, key: &str, values: &[f64]) -> Self {
        let list: Vec<String> = values.iter().map(|&value| number(value)).collect();
        self.raw(key, &format!("[{}]", list.join(",")))
    }

    /// Adds a value that is JSON already.
    #[must_use]
    pub fn raw(mut self, key: &str, value: &str) -> Self {
        if !self.fields.is_empty() {
            self.fields.push(',');
        }
        self.fields.push('"');
        self.fields.push_str(&escape(key));
        self.fields.push_str("\":");
        self.fields.push_str(value);
        self
    }

    /// Returns the object on one line.
    pub fn finish(self) -> String {
        format!("{{{}}}", self.fields)
    }
}

/// Returns the number under `key` in the flat object `line`.
pub fn find_number(line: &str, key: &str) -> Option<f64> {
    let field = format!("\"{key}\":");
    let rest = &line[line.find(&field)? + field.len()..];
    let end = rest.find([',', '}']).unwrap_or(rest.len());
    rest[..end].trim().parse().ok()
}

/// Returns the list of numbers under `key` in the flat object `line`.
pub fn find_numbers(line: &str, key: &str) -> Option<Vec<f64>> {
    let field = format!("\"{key}\":[");
    let rest = &line[line.find(&field)? + field.len()..];
    rest[..rest.find(']')?].split(',').map(|number| number.trim().parse().ok()).collect()
}

/// Returns the list `items`, each JSON already, one a line.
pub fn list(items: &[String]) -> String {
    format!("[{}]", items.join(",\n "))
}

fn number(value: f64) -> String {
    if !value.is_finite() {
        return "null".to_owned();
    }
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text.is_empty() || text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_written_is_found_again() {
        let line = Object::new().text("name", "a \"b\"").number("p50", 1.25).count("errors", 0).finish();
        assert_eq!(line, r#"{"name":"a \"b\"","p50":1.25,"errors":0}"#);
        assert_eq!(find_number(&line, "p50"), Some(1.25));
        assert_eq!(find_number(&line, "errors"), Some(0.0));
        assert_eq!(find_number(&line, "p99"), None);
    }

    #[test]
    fn numbers_written_are_found_again() {
        let line = Object::new().count("iters", 3).numbers("times", &[1.0, 2.5]).finish();
        assert_eq!(find_numbers(&line, "times"), Some(vec![1.0, 2.5]));
        assert_eq!(find_numbers(&line, "iters"), None);
    }

    #[test]
    fn what_is_not_finite_is_null() {
        assert_eq!(Object::new().numbers("x", &[100.0, f64::NAN]).finish(), r#"{"x":[100,null]}"#);
    }
}
