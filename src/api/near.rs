//! What a wrong name was most likely meant to be.

/// The longest part of a name that is compared, in characters.
const MAX_COMPARED: usize = 80;
/// How alike two names are at least, between 0 and 1.
const MIN_SIMILARITY: f64 = 0.65;
/// How many names are suggested at most.
const MAX_SUGGESTED: usize = 3;

/// Returns the known name that is most like a wrong one, if any is.
#[must_use]
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    near(name, known.iter().copied()).first().copied()
}

/// Returns the known names that are most like a wrong one, the likest first.
#[must_use]
pub fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = plain(name);
    let mut scored: Vec<(f64, &str)> = known
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(&wanted, &plain(candidate)), candidate))
        .filter(|(alike, _)| *alike >= MIN_SIMILARITY)
        .collect();
    scored.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    scored.into_iter().take(MAX_SUGGESTED).map(|(_, candidate)| candidate).collect()
}

/// A name without what is easily written otherwise: case, underscores, hyphens, dots.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).take(MAX_COMPARED).collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_name_that_was_meant_and_noise_finds_none() {
        let known = ["tasks_list", "tasks_get", "tasks_respond", "executions_list"];
        assert_eq!(nearest("task_list", &known), Some("tasks_list"));
        assert_eq!(nearest("Tasks-Get", &known), Some("tasks_get"));
        assert_eq!(nearest("tasks_repsond", &known), Some("tasks_respond"));
        assert_eq!(near("tasks_lst", known), ["tasks_list", "tasks_get"]);
        assert_eq!(nearest("limt", &["limit", "id"]), Some("limit"));
        for noise in ["", "x", "weather_today", &"tasks_list".repeat(100_000)] {
            assert_eq!(nearest(noise, &known), None, "{}", noise.len());
        }
    }
}
