//! What of an expression's text is code, and what lies in strings and comments.

/// The bytes of a CEL text that are code, with where they are: strings, their quotes and comments left out.
#[derive(Debug)]
pub(crate) struct Code<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Code<'a> {
    /// The code of `text` from byte `at` on, which must not be inside a string.
    pub(crate) const fn new(text: &'a str, at: usize) -> Self {
        Self { text: text.as_bytes(), at }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    /// Goes on behind the string whose first quote is at `self.at`.
    fn skip_string(&mut self) {
        let quote = self.byte(self.at);
        let is_raw = self.is_raw();
        let is_long = self.byte(self.at + 1) == quote && self.byte(self.at + 2) == quote;
        self.at += if is_long { 3 } else { 1 };
        while let Some(byte) = self.byte(self.at) {
            if byte == b'\\' && !is_raw {
                self.at += 2;
                continue;
            }
            self.at += 1;
            if Some(byte) != quote {
                continue;
            }
            if !is_long {
                return;
            }
            if self.byte(self.at) == quote && self.byte(self.at + 1) == quote {
                self.at += 2;
                return;
            }
        }
    }

    /// Whether the string that starts here has an `r` before its quote: then a backslash is nothing special.
    fn is_raw(&self) -> bool {
        let word = self.text[..self.at].iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_');
        let word: Vec<u8> = word.take(3).map(u8::to_ascii_lowercase).collect();
        matches!(word.as_slice(), b"r" | b"br" | b"rb")
    }
}

impl Iterator for Code<'_> {
    type Item = (usize, u8);

    fn next(&mut self) -> Option<(usize, u8)> {
        loop {
            let byte = self.byte(self.at)?;
            match byte {
                b'"' | b'\'' => self.skip_string(),
                b'/' if self.byte(self.at + 1) == Some(b'/') => {
                    while self.byte(self.at).is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                _ => {
                    self.at += 1;
                    return Some((self.at - 1, byte));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Code::new(text, 0).map(|(_, byte)| char::from(byte)).collect()
    }

    #[test]
    fn strings_and_comments_are_left_out() {
        for (text, expected) in [
            ("a + b", "a + b"),
            ("a + '}' + b", "a +  + b"),
            (r#"a + "\"}" + b"#, "a +  + b"),
            (r"r'\' + b", "r + b"),
            (r"'\\' + b", " + b"),
            ("'''a'b''' + c", " + c"),
            ("\"\"\"a\"\"b\"\"\" + c", " + c"),
            ("a // b }\n+ c", "a \n+ c"),
            ("'open", ""),
            ("'open\\", ""),
            ("x.for'}'", "x.for"),
            ("'' + a", " + a"),
        ] {
            assert_eq!(code(text), expected, "{text}");
        }
    }
}
