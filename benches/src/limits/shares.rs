//! How evenly something was divided. Pure.

/// Shares, where 1 is the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Jain's index: 1 if all are equal, 1 / n if one has all.
    pub jain: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub most: f64,
}

impl Shares {
    /// Of what each of them got; NaN if nobody got anything.
    pub fn of(parts: &[u64]) -> Self {
        let parts = || parts.iter().map(|&part| part as f64);
        let (count, sum) = (parts().count() as f64, parts().sum::<f64>());
        let squares: f64 = parts().map(|part| part * part).sum();
        let mean = sum / count;
        Self {
            jain: sum * sum / (count * squares),
            least: parts().fold(f64::INFINITY, f64::min) / mean,
            most: parts().fold(0.0, f64::max) / mean,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_are_even_and_one_taker_is_not() {
        assert_eq!(Shares::of(&[5, 5, 5, 5]), Shares { jain: 1.0, least: 1.0, most: 1.0 });
        assert_eq!(Shares::of(&[0, 8, 0, 0]), Shares { jain: 0.25, least: 0.0, most: 4.0 });
        assert_eq!(Shares::of(&[1, 3]), Shares { jain: 0.8, least: 0.5, most: 1.5 });
        assert!(Shares::of(&[0, 0]).jain.is_nan());
    }
}
