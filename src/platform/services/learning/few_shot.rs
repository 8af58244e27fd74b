//! Retraining without a model of one's own: the examples that show an agent best what is wanted, scored and measured.
//!
//! An example is worth its quality times its novelty. Every fifth one is held out; on these the answers that the agent
//! gave, and those that the most similar chosen example would suggest, are compared with the answers that are wanted.

use serde::Serialize;

use super::examples::Example;
use super::lexical::Vector;

/// Most examples that are chosen for a prompt.
const MAX_CHOSEN: usize = 8;
/// Longest input and output together that are worth showing, in bytes.
const MAX_LENGTH: usize = 8_000;
/// The quality from which an answer that nobody corrected is worth showing.
const MIN_QUALITY: f64 = 0.8;
/// The least score of an example that is chosen: below it, it repeats another.
const MIN_SCORE: f64 = 0.05;
/// One example of so many is held out, where there are as many.
const HELD_OUT: usize = 5;

/// An example that was chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Chosen {
    feedback_id: String,
    prompt_version: String,
    input: String,
    output: String,
    quality: f64,
    novelty: f64,
    score: f64,
}

/// What training for one prompt gave.
#[derive(Debug, Default)]
pub(super) struct Trained {
    /// The few-shot set, best first.
    pub(super) chosen: Vec<Chosen>,
    /// How many examples could be learned from.
    pub(super) usable: usize,
    /// How alike the agent's answers to held-out examples are to those wanted, each.
    pub(super) before: Vec<f64>,
    /// The same of the answers that the few-shot set suggests.
    pub(super) after: Vec<f64>,
}

/// An example that can be learned from.
struct Pair<'e> {
    example: &'e Example,
    input: &'e str,
    wanted: &'e str,
    quality: f64,
    asks: Vector,
}

/// Whether an example can be learned from: it is known what was asked and what is wanted, and neither is too long.
pub(super) fn is_usable(example: &Example) -> bool {
    wanted(example).is_some()
}

/// What was asked, the answer wanted, and its quality. A correction is what is wanted; else a good answer is.
fn wanted(example: &Example) -> Option<(&str, &str, f64)> {
    let input = example.input.as_deref()?;
    let (wanted, quality) = match example.expected.as_deref() {
        Some(expected) => (expected, 1.0),
        None => (example.output.as_deref()?, rating(example).filter(|rating| *rating >= MIN_QUALITY)?),
    };
    let fits = !wanted.trim().is_empty() && input.len() + wanted.len() <= MAX_LENGTH;
    fits.then_some((input, wanted, quality))
}

/// The mean of the ratings, from 0 to 1.
fn rating(example: &Example) -> Option<f64> {
    match (example.accuracy, example.user_satisfaction.map(|stars| stars / 5.0)) {
        (Some(accuracy), Some(satisfaction)) => Some(f64::midpoint(accuracy, satisfaction)),
        (one, other) => one.or(other),
    }
}

/// Chooses the few-shot set of one prompt and measures it. The same examples always give the same set.
pub(super) fn train(examples: &[&Example]) -> Trained {
    let pairs: Vec<Pair<'_>> = examples
        .iter()
        .filter_map(|example| {
            let (input, wanted, quality) = wanted(example)?;
            Some(Pair { example, input, wanted, quality, asks: Vector::of(input) })
        })
        .collect();
    let usable = pairs.len();
    let (mut learned, mut held_out) = (Vec::new(), Vec::new());
    for (place, pair) in pairs.into_iter().enumerate() {
        let part = if place % HELD_OUT == HELD_OUT - 1 { &mut held_out } else { &mut learned };
        part.push(pair);
    }
    let chosen = choose(learned);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for pair in &held_out {
        let wanted = Vector::of(pair.wanted);
        before.extend(pair.example.output.as_deref().map(|output| Vector::of(output).alike(&wanted)));
        let nearest = chosen.iter().max_by(|(one, _), (other, _)| one.asks.alike(&pair.asks).total_cmp(&other.asks.alike(&pair.asks)));
        after.extend(nearest.map(|(nearest, _)| Vector::of(nearest.wanted).alike(&wanted)));
    }
    let chosen = chosen
        .into_iter()
        .map(|(pair, novelty)| Chosen {
            feedback_id: pair.example.feedback_id.clone(),
            prompt_version: pair.example.prompt_version.clone(),
            input: pair.input.to_owned(),
            output: pair.wanted.to_owned(),
            quality: rounded(pair.quality),
            novelty: rounded(novelty),
            score: rounded(pair.quality * novelty),
        })
        .collect();
    Trained { chosen, usable, before, after }
}

/// Takes the best example, again and again, as long as one is left that does not repeat those taken.
fn choose(learned: Vec<Pair<'_>>) -> Vec<(Pair<'_>, f64)> {
    // The newest first: of equals it is taken.
    let mut left: Vec<(Pair<'_>, f64)> = learned.into_iter().rev().map(|pair| (pair, 1.0)).collect();
    let mut chosen: Vec<(Pair<'_>, f64)> = Vec::new();
    while chosen.len() < MAX_CHOSEN {
        let scores = left.iter().map(|(pair, novelty)| pair.quality * novelty).enumerate();
        let best = scores.reduce(|best, next| if next.1 > best.1 { next } else { best });
        let Some((place, _)) = best.filter(|(_, score)| *score >= MIN_SCORE) else { break };
        let (taken, novelty) = left.swap_remove(place);
        for (pair, novelty) in &mut left {
            *novelty = novelty.min(1.0 - pair.asks.alike(&taken.asks));
        }
        chosen.push((taken, novelty));
    }
    chosen
}

/// A score with four decimals.
pub(super) fn rounded(score: f64) -> f64 {
    (score * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(id: usize, input: &str, output: &str, expected: Option<&str>, accuracy: f64) -> Example {
        Example {
            feedback_id: format!("feedback-{id}"),
            agent_id: "agent-a".to_owned(),
            prompt_id: "prompt-a".to_owned(),
            prompt_version: "1.0.0".to_owned(),
            execution_id: None,
            input: Some(input.to_owned()),
            output: Some(output.to_owned()),
            expected: expected.map(str::to_owned),
            accuracy: Some(accuracy),
            user_satisfaction: None,
            notes: None,
            created_at: None,
        }
    }

    fn ids(trained: &Trained) -> Vec<&str> {
        trained.chosen.iter().map(|chosen| chosen.feedback_id.as_str()).collect()
    }

    #[test]
    fn corrected_and_different_examples_are_chosen_and_repeats_are_not() {
        let examples = [
            example(0, "late parcel", "sorry for the delay", None, 0.9),
            example(1, "late parcel", "we apologise", Some("refund the postage"), 0.2),
            example(2, "broken lamp glass", "send a new lamp", None, 0.85),
            example(3, "wrong colour shirt", "bad answer", None, 0.3),
        ];
        let trained = train(&examples.iter().collect::<Vec<_>>());
        assert_eq!((ids(&trained), trained.usable), (vec!["feedback-1", "feedback-2"], 3));
        let first = &trained.chosen[0];
        assert_eq!((first.output.as_str(), first.quality, first.novelty), ("refund the postage", 1.0, 1.0));
        assert!(trained.after.is_empty(), "too few to hold one out");
    }

    #[test]
    fn held_out_examples_measure_the_answers_before_and_after() {
        let mut examples: Vec<Example> =
            (0..4).map(|n| example(n, &format!("topic{n} question"), "poor", Some("ask the expert"), 0.1)).collect();
        examples.push(example(4, "topic1 question", "poor", Some("ask the expert"), 0.1));
        let trained = train(&examples.iter().collect::<Vec<_>>());
        assert!(!ids(&trained).contains(&"feedback-4"), "what is held out is not learned");
        assert_eq!((trained.before.len(), trained.after.len()), (1, 1));
        assert!(trained.after[0] > 0.99 && trained.before[0] < 0.5, "{trained:?}");
    }

    #[test]
    fn the_set_is_bounded_and_leaves_out_what_is_too_long() {
        let mut examples: Vec<Example> = (0..40).map(|n| example(n, &format!("subject{n} matter{n} case{n}"), "fine", None, 1.0)).collect();
        examples.push(example(99, &"x ".repeat(5_000), "fine", None, 1.0));
        let trained = train(&examples.iter().collect::<Vec<_>>());
        assert_eq!((trained.chosen.len(), trained.usable), (MAX_CHOSEN, 40));
    }
}
