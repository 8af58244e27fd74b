//! Figures beside their aims.

use std::fmt::Display;

/// Prints each figure with its aim, and counts the aims that were missed.
#[derive(Default)]
pub struct Aims {
    met: usize,
    missed: Vec<String>,
}

impl Aims {
    /// Prints a figure that may not exceed its aim.
    pub fn at_most(&mut self, value: f64, aim: f64, what: impl Display) {
        self.judge(value <= aim, format!("{what} (aim {aim})"));
    }

    /// Prints two numbers that have to be the same.
    pub fn equal(&mut self, value: usize, aim: usize, what: impl Display) {
        self.judge(value == aim, format!("{what}: {value} of {aim}"));
    }

    fn judge(&mut self, is_met: bool, text: String) {
        println!("  {}  {text}", if is_met { "met   " } else { "MISSED" });
        if is_met {
            self.met += 1;
        } else {
            self.missed.push(text);
        }
    }

    /// Prints what was missed.
    pub fn summary(&self) {
        println!("{} aims met, {} missed", self.met, self.missed.len());
        for text in &self.missed {
            println!("  MISSED  {text}");
        }
    }
}

/// The value below which so many hundredths of a sorted row lie.
pub fn percentile(sorted: &[f64], hundredths: usize) -> f64 {
    sorted.get((sorted.len() * hundredths).div_ceil(100).saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
