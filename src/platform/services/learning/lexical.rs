//! How alike two texts are by their words: feature hashing and the cosine. It is lexical and knows no meaning.

/// Dimensions of a vector.
const DIMENSIONS: usize = 256;
/// Most words of a text that count.
const MAX_WORDS: usize = 4_000;

/// The words of a text as a vector of length one, or of length zero where there are none.
#[derive(Debug, Clone)]
pub(super) struct Vector([f32; DIMENSIONS]);

impl Vector {
    /// Hashes the words of a text, without regard to case.
    pub(super) fn of(text: &str) -> Self {
        let mut counts = [0.0_f32; DIMENSIONS];
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).take(MAX_WORDS) {
            let hash = fnv(word);
            let place = usize::try_from(hash % DIMENSIONS as u64).unwrap_or_default();
            if let Some(count) = counts.get_mut(place) {
                // The sign keeps words that share a place from always adding up.
                *count += if hash >> 63 == 0 { 1.0 } else { -1.0 };
            }
        }
        let length = counts.iter().map(|count| count * count).sum::<f32>().sqrt();
        if length > 0.0 {
            for count in &mut counts {
                *count /= length;
            }
        }
        Self(counts)
    }

    /// How alike the texts are, from 0 to 1.
    pub(super) fn alike(&self, other: &Self) -> f64 {
        f64::from(self.0.iter().zip(&other.0).map(|(one, other)| one * other).sum::<f32>()).clamp(0.0, 1.0)
    }
}

/// FNV-1a of a word in lower case, the same in every run.
fn fnv(word: &str) -> u64 {
    let mut bytes = [0; 4];
    word.chars().flat_map(char::to_lowercase).fold(0xcbf2_9ce4_8422_2325, |hash, letter| {
        letter.encode_utf8(&mut bytes).bytes().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(one: &str, other: &str) -> f64 {
        Vector::of(one).alike(&Vector::of(other))
    }

    #[test]
    fn texts_are_as_alike_as_their_words() {
        assert!((alike("Call the customer today.", "call THE customer, today") - 1.0).abs() < 1e-6);
        let (near, far) =
            (alike("call the customer today", "call the customer tomorrow"), alike("call the customer today", "ship spare parts"));
        assert!(near > 0.6 && far < 0.3, "{near} {far}");
        assert!(alike("", "anything").abs() < 1e-6);
    }
}
