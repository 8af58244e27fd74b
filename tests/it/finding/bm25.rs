//! A plain search by words (Okapi BM25) with light normalisation, as a host may rank tools.

use std::collections::{HashMap, HashSet};

/// How soon further occurrences of a word in a text count less.
const K1: f64 = 1.2;
/// How much a text's length counts against it.
const B: f64 = 0.75;
/// Words of any sentence; question words are not among them, since they tell what is asked for.
const STOP_WORDS: &str = "a an the of to in on at for and or is are was were be been it its that this with as by from has have i me my we \
                          us our you your he she his her they them their please can";

/// Texts by name, and what each of their words is worth.
pub struct Index {
    texts: Vec<Text>,
    worth: HashMap<String, f64>,
    mean_length: f64,
}

struct Text {
    name: &'static str,
    counts: HashMap<String, f64>,
    length: f64,
}

impl Index {
    pub fn new(texts: impl Iterator<Item = (&'static str, String)>) -> Self {
        let texts: Vec<Text> = texts
            .map(|(name, text)| {
                let mut counts = HashMap::new();
                words(&text).for_each(|word| *counts.entry(word).or_insert(0.0) += 1.0);
                Text { name, length: counts.values().sum(), counts }
            })
            .collect();
        let number: f64 = texts.iter().map(|_| 1.0).sum();
        let mut holders: HashMap<String, f64> = HashMap::new();
        texts.iter().flat_map(|text| text.counts.keys()).for_each(|word| *holders.entry(word.clone()).or_default() += 1.0);
        let worth = holders.into_iter().map(|(word, holders)| (word, ((number - holders + 0.5) / (holders + 0.5)).ln_1p())).collect();
        let mean_length = texts.iter().map(|text| text.length).sum::<f64>() / number;
        Self { texts, worth, mean_length }
    }

    /// Returns the place of a text for a request, from 1. Texts with the same score come before it; without a word of the
    /// request it has the last place.
    pub fn place(&self, request: &str, name: &str) -> usize {
        let words: Vec<String> = words(request).collect();
        let scores = self.texts.iter().map(|text| (text.name, self.score(text, &words)));
        let own = scores.clone().find(|(other, _)| *other == name).map_or(0.0, |(_, score)| score);
        if own > 0.0 { scores.filter(|(_, score)| *score >= own).count() } else { self.texts.len() }
    }

    fn score(&self, text: &Text, words: &[String]) -> f64 {
        let length = K1 * (1.0 - B + B * text.length / self.mean_length);
        let of = |word: &String| text.counts.get(word).map(|count| self.worth[word] * count * (K1 + 1.0) / (count + length));
        words.iter().filter_map(of).sum()
    }
}

/// The words of a text that say something, without their endings. `camelCase` and `snake_case` are several words.
fn words(text: &str) -> impl Iterator<Item = String> {
    let stop_words: HashSet<&str> = STOP_WORDS.split(' ').collect();
    let mut split = String::with_capacity(text.len() + 16);
    let mut before = ' ';
    for letter in text.chars() {
        if letter.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit()) {
            split.push(' ');
        }
        split.push(if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { ' ' });
        before = letter;
    }
    let words: Vec<String> = split.split_whitespace().filter(|word| !stop_words.contains(word)).map(stem).collect();
    words.into_iter()
}

/// A word without the ending of a plural, `-ing` or `-ed`, and without a last `e`; a last `y` is written `i`.
fn stem(word: &str) -> String {
    let mut stem = word.to_owned();
    let cut = |stem: &mut String, ending: &str, least: usize, instead: &str| {
        let ends = stem.len() >= least && stem.ends_with(ending);
        if ends {
            stem.truncate(stem.len() - ending.len());
            stem.push_str(instead);
        }
        ends
    };
    if !cut(&mut stem, "ies", 5, "y") && !["ss", "us", "is"].iter().any(|ending| stem.ends_with(ending)) {
        cut(&mut stem, "s", 4, "");
    }
    let is_cut = cut(&mut stem, "ing", 6, "") || cut(&mut stem, "ied", 5, "y") || cut(&mut stem, "ed", 5, "");
    if is_cut && stem.len() > 3 && !["ll", "ss", "zz"].iter().any(|double| stem.ends_with(double)) {
        let mut last = stem.chars().rev();
        if last.next() == last.next() {
            stem.pop();
        }
    }
    cut(&mut stem, "e", 4, "");
    cut(&mut stem, "y", 4, "i");
    stem
}

#[test]
fn a_word_is_found_in_its_other_forms() {
    for (one, other) in
        [("approves", "approved"), ("planned", "plan"), ("copies", "copying"), ("companies", "company"), ("running", "runs")]
    {
        assert_eq!(stem(one), stem(other), "{one}, {other}");
    }
    assert_eq!(words("The ingestJobs of task_list").collect::<Vec<_>>(), ["ingest", "job", "task", "list"]);
}

#[test]
fn a_rare_word_counts_more_than_a_frequent_one() {
    let texts = [("long", "show the list of cars"), ("other", "show the list of ships"), ("third", "show nothing")];
    let index = Index::new(texts.into_iter().map(|(name, text)| (name, text.to_owned())));
    assert_eq!((index.place("list of ships", "other"), index.place("list of ships", "long")), (1, 2));
    assert_eq!(index.place("trains", "other"), 3, "without a word it comes last");
}
