//! Medians and quartiles.

/// A median, its quartiles and its extremes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Least of all.
    pub least: f64,
    /// A quarter lies below.
    pub low: f64,
    /// Half lies below.
    pub median: f64,
    /// A quarter lies above.
    pub high: f64,
    /// Greatest of all.
    pub greatest: f64,
}

impl Spread {
    /// Orders `values`; those that are no numbers are left out. All is NaN when none is left.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        values.sort_by(f64::total_cmp);
        Self {
            least: quantile(&values, 0.0),
            low: quantile(&values, 0.25),
            median: quantile(&values, 0.5),
            high: quantile(&values, 0.75),
            greatest: quantile(&values, 1.0),
        }
    }
}

/// Returns the quantile of `sorted`, linear between two values; NaN when there is none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = share * last as f64;
    let (below, part) = (place.floor(), place.fract());
    let low = sorted[below as usize];
    let high = sorted[(below as usize + 1).min(last)];
    low + (high - low) * part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_an_even_count_is_between_the_two() {
        let spread = Spread::of([4.0, 1.0, f64::NAN, 3.0, 2.0]);
        assert_eq!(spread, Spread { least: 1.0, low: 1.75, median: 2.5, high: 3.25, greatest: 4.0 });
    }

    #[test]
    fn nothing_has_no_median() {
        assert!(Spread::of([]).median.is_nan());
    }
}
