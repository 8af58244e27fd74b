//! Lexical embeddings: words and their parts hashed into 256 dimensions. Texts with like words are near, meaning aside.

use std::collections::HashMap;

/// The length of a vector.
pub(super) const DIMENSIONS: usize = 256;
/// The name of the model in answers.
pub(super) const MODEL: &str = "lexical";
/// How much a part of a word counts beside the word.
const PART_WEIGHT: f32 = 0.5;
/// Shortest word whose parts count, in characters.
const MIN_PARTED: usize = 5;
/// Longest word that is hashed whole, in characters.
const MAX_WORD: usize = 40;

/// Words that stand in every text and tell none apart.
const STOP_WORDS: [&str; 40] = [
    "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "in", "is", "it", "of", "on", "or", "that", "the", "this", "to", "was",
    "were", "will", "with", "which", "who", "der", "die", "das", "und", "ist", "ein", "eine", "den", "dem", "von", "zu", "mit", "auf",
    "im",
];

/// The vector of a text in the index's form (`full_text::words_of`), of length 1; of zeros for a text without words.
pub(super) fn embed(words: &str) -> Vec<f32> {
    let mut counts: HashMap<String, f32> = HashMap::new();
    for word in terms(words) {
        *counts.entry(word).or_default() += 1.0;
    }
    let mut vector = vec![0.0_f32; DIMENSIONS];
    for (word, count) in &counts {
        // The tenth repetition says less than the second.
        let weight = 1.0 + count.ln();
        add(&mut vector, word.as_bytes(), weight);
        let letters: Vec<char> = word.chars().collect();
        if letters.len() >= MIN_PARTED {
            for part in letters.windows(3) {
                add(&mut vector, part.iter().collect::<String>().as_bytes(), weight * PART_WEIGHT);
            }
        }
    }
    normalise(vector)
}

/// The words of a text that tell it apart, in lower case.
pub(super) fn terms(words: &str) -> impl Iterator<Item = String> {
    words
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(MAX_WORD).flat_map(char::to_lowercase).collect::<String>())
        .filter(|word| !STOP_WORDS.contains(&word.as_str()))
}

/// Adds a feature at the place and with the sign that its hash (FNV-1a) gives.
fn add(vector: &mut [f32], feature: &[u8], weight: f32) {
    let hash = feature.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    // The low bits of FNV-1a are weak.
    let hash = hash ^ (hash >> 32);
    let place = usize::try_from(hash % 256).unwrap_or_default();
    if let Some(slot) = vector.get_mut(place) {
        *slot += if hash & 0x100 == 0 { weight } else { -weight };
    }
}

fn normalise(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in &mut vector {
            *value /= length;
        }
    }
    vector
}

/// The cosine of two vectors of length 1.
pub(super) fn cosine(one: &[f32], other: &[f32]) -> f64 {
    f64::from(one.iter().zip(other).map(|(one, other)| one * other).sum::<f32>())
}

/// A vector as it is stored.
pub(super) fn to_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A stored vector.
pub(super) fn of_bytes(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

/// A vector as answers show it, with six decimals.
pub(super) fn view(vector: &[f32]) -> Vec<f64> {
    vector.iter().map(|value| (f64::from(*value) * 1e6).round() / 1e6).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_like_words_are_near() {
        let lease = embed("the lease ends with a notice period of three months");
        let near = cosine(&lease, &embed("notice periods of leases"));
        let far = cosine(&lease, &embed("chocolate cake with cherries"));
        assert!(near > 0.35 && far < 0.15, "{near} {far}");
        assert!((cosine(&lease, &lease) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_vector_comes_back_from_the_database_as_it_was() {
        let vector = embed("Invoice INV-2025-001");
        assert_eq!(of_bytes(&to_bytes(&vector)), vector);
        assert_eq!((vector.len(), view(&vector).len()), (DIMENSIONS, DIMENSIONS));
        assert!(embed("and the of").iter().all(|value| *value == 0.0));
    }
}
