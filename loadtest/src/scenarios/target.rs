//! What the project promises about a figure.
//!
//! Owns: the form of a promise in a scenario's file. Must never know: what was measured; `targets` judges.

use serde::Deserialize;

use super::Case;
use crate::Outcome;
use crate::figures::Figure;

/// A promise.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) figure: Figure,
    #[serde(default)]
    pub(crate) compare: Compare,
    #[serde(default = "uring")]
    pub(crate) peer: String,
    /// The other side, unless the promise is absolute.
    #[serde(default = "node")]
    pub(crate) against: String,
    /// The case of both sides.
    #[serde(default)]
    pub(crate) case: String,
    /// The other side's case, if it is another one.
    pub(crate) against_case: Option<String>,
    /// Holds at this share of Node's capacity, not at saturation.
    pub(crate) rate: Option<f64>,
    /// Only for this release line of Node.
    pub(crate) node: Option<u32>,
    pub(crate) at_most: Option<f64>,
    pub(crate) at_least: Option<f64>,
}

/// How two sides become one number.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Compare {
    /// Ours divided by theirs, within a round.
    #[default]
    Ratio,
    /// Ours less theirs, within a round.
    Difference,
    /// Ours alone.
    Absolute,
}

fn uring() -> String {
    "uring".to_owned()
}

fn node() -> String {
    "node".to_owned()
}

impl Target {
    /// Who is compared with, unless the promise is absolute.
    pub(crate) fn other_side(&self) -> Option<&String> {
        (self.compare != Compare::Absolute).then_some(&self.against)
    }

    /// The case of the other side.
    pub(crate) fn other_case(&self) -> &str {
        self.against_case.as_deref().unwrap_or(&self.case)
    }

    /// Says what is wrong with it.
    pub(super) fn check(&self, cases: &[Case], rates: &[f64]) -> Outcome<()> {
        if self.at_most.is_some() == self.at_least.is_some() {
            return Err(format!("a target needs either at_most or at_least: {self:?}"));
        }
        for name in [&*self.case, self.other_case()] {
            if !cases.iter().any(|case| case.name == name) {
                return Err(format!("no case `{name}`: {self:?}"));
            }
        }
        match self.rate {
            Some(rate) if !rates.contains(&rate) => Err(format!("no such rate: {self:?}")),
            _ => Ok(()),
        }
    }
}
