//! The bytes of a document: decoded from base64, bounded, told by what they begin with, and read as text.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::reading::Reading;
use super::{ocr, pdf};
use crate::error::{Error, Kind, Result};
use crate::platform::http::context::Cx;

/// Largest file, in bytes.
pub(super) const MAX_BYTES: usize = 25 * 1024 * 1024;

/// Base64 as senders write it: with or without padding.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Pdf,
    Image(&'static str),
    Text,
    Markdown,
}

impl Media {
    /// The media type.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Image(name) => name,
            Self::Text => "text/plain",
            Self::Markdown => "text/markdown",
        }
    }
}

/// A file whose kind is known.
#[derive(Clone)]
pub(super) struct File {
    pub(super) bytes: Arc<[u8]>,
    pub(super) media: Media,
}

/// Decodes a file.
pub(super) fn decode(document: &str) -> Result<File> {
    let compact: String;
    let document = if document.bytes().any(|byte| byte.is_ascii_whitespace()) {
        compact = document.split_ascii_whitespace().collect();
        compact.as_str()
    } else {
        document
    };
    let letters = document.trim_end_matches('=').len();
    let size = letters / 4 * 3 + letters % 4 * 3 / 4;
    if size > MAX_BYTES {
        return Err(Error::new(Kind::TooLarge, "FM-DOC-TOO-LARGE", "the document has more than 25 MB")
            .hint("Send a smaller file, or split it.")
            .field("/document", "size", format!("has {size} bytes; at most {MAX_BYTES} are allowed")));
    }
    let bytes = BASE64.decode(document).map_err(|error| {
        Error::new(Kind::Invalid, "FM-DOC-BASE64", "the document is not base64")
            .hint("Send the bytes of the file in standard base64 (RFC 4648), without a `data:` prefix.")
            .field("/document", "base64", format!("cannot be decoded: {error}"))
    })?;
    of_bytes(bytes.into())
}

/// Tells the kind of a file by its bytes.
pub(super) fn of_bytes(bytes: Arc<[u8]>) -> Result<File> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let head = bytes.get(..bytes.len().min(1024)).unwrap_or_default();
    let media = if head.windows(5).any(|window| window == b"%PDF-") {
        Media::Pdf
    } else if starts(b"\x89PNG\r\n\x1a\n") {
        Media::Image("image/png")
    } else if starts(b"\xff\xd8\xff") {
        Media::Image("image/jpeg")
    } else if starts(b"II*\0") || starts(b"MM\0*") {
        Media::Image("image/tiff")
    } else {
        return text_file(bytes);
    };
    Ok(File { bytes, media })
}

fn text_file(bytes: Arc<[u8]>) -> Result<File> {
    let text = std::str::from_utf8(&bytes).map_err(|_| unknown_format("is neither PDF, PNG, JPEG, TIFF nor UTF-8 text"))?;
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err(Error::new(Kind::Invalid, "FM-DOC-EMPTY", "the document is empty").hint("Send a file with content.").field(
            "/document",
            "empty",
            "holds no text",
        ));
    }
    if text.contains(|letter: char| letter.is_control() && !"\t\n\r\u{c}".contains(letter)) {
        return Err(unknown_format("holds control characters, as no text does"));
    }
    let is_heading = |line: &str| line.starts_with("# ") || line.starts_with("## ") || line.starts_with("```");
    let media = if text.lines().any(is_heading) { Media::Markdown } else { Media::Text };
    Ok(File { bytes, media })
}

fn unknown_format(detail: &str) -> Error {
    Error::new(Kind::Invalid, "FM-DOC-FORMAT", "files of this kind cannot be read")
        .hint("Send a PDF, a PNG, JPEG or TIFF image, plain text or Markdown in UTF-8; export other files as PDF first.")
        .field("/document", "format", detail)
}

/// Reads a file. Where it holds images alone, `with_ocr` decides: `Some(false)` leaves the text empty, else OCR must be there.
pub(super) async fn read(cx: &Cx, file: &File, with_ocr: Option<bool>) -> Result<Reading> {
    let (mut reading, images) = match file.media {
        Media::Text | Media::Markdown => {
            let mut reading = Reading::default();
            let text = String::from_utf8_lossy(&file.bytes);
            reading.push(text.trim_start_matches('\u{feff}'));
            if file.media == Media::Markdown {
                reading.title = text.lines().find_map(|line| line.strip_prefix("# ")).map(|title| title.trim().chars().take(200).collect());
            }
            (reading, Vec::new())
        }
        Media::Image(_) => (Reading::default(), vec![file.bytes.to_vec()]),
        Media::Pdf => pdf::read(cx, Arc::clone(&file.bytes)).await?,
    };
    if reading.text.trim().is_empty() && !images.is_empty() && with_ocr != Some(false) {
        for text in ocr::recognise(cx, images).await? {
            if !(reading.push(&text) && reading.push("\n")) {
                break;
            }
        }
        reading.by_ocr = true;
    }
    if reading.text.trim().is_empty() {
        reading.text.clear();
    }
    Ok(reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(bytes: &[u8]) -> Result<Media> {
        of_bytes(bytes.into()).map(|file| file.media)
    }

    #[test]
    fn a_file_is_told_by_its_bytes() {
        for (bytes, kind) in [
            (&b"%PDF-1.7\n"[..], Media::Pdf),
            (b"junk before\n%PDF-1.4", Media::Pdf),
            (b"\x89PNG\r\n\x1a\n....", Media::Image("image/png")),
            (b"\xff\xd8\xff\xe0", Media::Image("image/jpeg")),
            (b"Dear Anna,\nhello.", Media::Text),
            (b"# Title\ntext", Media::Markdown),
        ] {
            assert_eq!(media(bytes).unwrap(), kind);
        }
        for (bytes, code) in
            [(&b"PK\x03\x04"[..], "FM-DOC-FORMAT"), (b"\xff\xfe\x00", "FM-DOC-FORMAT"), (b"", "FM-DOC-EMPTY"), (b" \n", "FM-DOC-EMPTY")]
        {
            assert_eq!(media(bytes).unwrap_err().code(), code);
        }
    }

    #[test]
    fn a_file_beyond_its_bound_is_refused_before_it_is_decoded() {
        let most = MAX_BYTES / 3 * 4 + 2;
        assert_eq!(decode(&"*".repeat(most)).err().unwrap().code(), "FM-DOC-BASE64");
        assert_eq!(decode(&"*".repeat(most + 1)).err().unwrap().code(), "FM-DOC-TOO-LARGE");
    }

    #[test]
    fn base64_is_taken_with_and_without_padding_and_breaks() {
        for text in ["YWJjZA==", "YWJjZA", "YWJj\r\nZA=="] {
            assert_eq!(&*decode(text).unwrap().bytes, b"abcd");
        }
        for text in ["data:text/plain;base64,YWJj", "YWJj*", "Y"] {
            assert_eq!(decode(text).err().unwrap().code(), "FM-DOC-BASE64", "{text}");
        }
    }
}
