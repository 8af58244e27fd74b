//! Bytes as lower-case hexadecimal text, and back.

/// Bytes as text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The bytes of a text; nothing for one that holds anything but whole bytes.
#[cfg(feature = "platform")]
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

#[cfg(all(test, feature = "platform"))]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_nothing_else_is_read() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(hex(&[0, 9, 10, 0xf0, 255]), "00090af0ff");
        assert_eq!(unhex(&hex(&all)).unwrap(), all);
        for wrong in ["0", "0g", "0x12", " 00", "é"] {
            assert!(unhex(wrong).is_none(), "{wrong}");
        }
    }
}
