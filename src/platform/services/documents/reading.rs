//! What was read out of a file: text up to a bound, and what the file says of itself.

/// Most text of a document that is kept, in bytes.
pub(super) const MAX_TEXT: usize = 1024 * 1024;

/// What was read out of a file.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Text, cut at [`MAX_TEXT`].
    pub(super) text: String,
    /// Number of pages, where the file has pages.
    pub(super) pages: Option<usize>,
    /// Title that the file gives itself.
    pub(super) title: Option<String>,
    /// Whether the text was recognised in images.
    pub(super) by_ocr: bool,
    /// Whether there is more text than is kept.
    pub(super) truncated: bool,
}

impl Reading {
    /// Adds text, as far as it is kept; `false` once no more is.
    pub(super) fn push(&mut self, text: &str) -> bool {
        let left = MAX_TEXT.saturating_sub(self.text.len());
        let end = (0..=left.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        // NUL ends a text in SQLite's functions.
        self.text.extend(text.get(..end).unwrap_or_default().chars().filter(|letter| *letter != '\0'));
        self.truncated |= end < text.len();
        !self.truncated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_its_bound_and_between_letters() {
        let mut reading = Reading::default();
        assert!(reading.push(&"x".repeat(MAX_TEXT - 1)));
        assert!(!reading.push("é"));
        assert_eq!((reading.text.len(), reading.truncated), (MAX_TEXT - 1, true));
    }
}
