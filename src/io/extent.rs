//! How much a JSON text holds, seen before it is parsed: parsing needs a stack for its depth, and memory for its values.

/// What a JSON text holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The deepest nesting of brackets outside strings.
    pub(crate) depth: usize,
    /// How many values there are at most: a value of one byte takes some seventy when it is parsed.
    pub(crate) values: usize,
}

/// Looks at a text; needs no stack, and reads any bytes.
pub(crate) fn extent(bytes: &[u8]) -> Extent {
    let (mut deepest, mut depth, mut values) = (0_usize, 0_usize, 1_usize);
    let (mut in_text, mut escaped) = (false, false);
    for byte in bytes {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b',' => values += 1,
            b'[' | b'{' => {
                values += 1;
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Extent { depth: deepest, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_commas_count_outside_of_text() {
        assert_eq!(extent(br#"{"a":[1,{"b":"[[[[\"[,,,"}]}"#), Extent { depth: 3, values: 5 });
        assert_eq!(extent("[".repeat(100_000).as_bytes()).depth, 100_000);
        assert_eq!(extent(b"[[],[],[],7]").values, 8);
        assert_eq!(extent(b"").depth, 0);
    }
}
