//! The command line in a desktop entry (Desktop Entry Specification, "The Exec key"). Pure.

/// The arguments of an `Exec` value as it stands in the file, the program first. Field codes are left as they are.
pub fn arguments(value: &str) -> Vec<String> {
    let (mut arguments, mut argument, mut quoted) = (Vec::new(), None::<String>, false);
    let text = unescaped(value);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quoted = !quoted;
                argument.get_or_insert_default();
            }
            '\\' if quoted => argument.get_or_insert_default().extend(letters.next()),
            ' ' | '\t' | '\n' | '\r' if !quoted => arguments.extend(argument.take()),
            letter => argument.get_or_insert_default().push(letter),
        }
    }
    arguments.extend(argument);
    arguments
}

/// An argument as it stands in an `Exec` value: quoted if it has to be, and escaped once more as a value.
pub fn quoted(argument: &str) -> String {
    const RESERVED: &str = " \t\n\"'\\><~|&;$*?#()`";
    if !argument.is_empty() && !argument.contains(|letter| RESERVED.contains(letter)) {
        return argument.replace('%', "%%");
    }
    let mut text = String::from("\"");
    for letter in argument.chars() {
        match letter {
            '"' | '`' | '$' => text.extend(["\\\\", letter.encode_utf8(&mut [0; 4])]),
            '\\' => text.push_str("\\\\\\\\"),
            '%' => text.push_str("%%"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            letter => text.push(letter),
        }
    }
    text + "\""
}

/// A value's escapes: those of all strings in a desktop entry.
fn unescaped(value: &str) -> String {
    let mut text = String::new();
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('s') => text.push(' '),
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some('\\') => text.push('\\'),
                // Not in the specification, but in files: it is left to the quoting.
                Some(other) => text.extend(['\\', other]),
                None => text.push('\\'),
            },
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_taken_apart_as_launchers_do() {
        let check = |value: &str, expected: &[&str]| assert_eq!(arguments(value), expected, "{value}");
        check("firefox %u", &["firefox", "%u"]);
        check("  env  A=b\tx ", &["env", "A=b", "x"]);
        check(r#""/opt/my app/x" --flag="a b" """#, &["/opt/my app/x", "--flag=a b", ""]);
        check(r#"sh -c "echo \\"\\$1\\" \\\\\\\\ a" x"#, &["sh", "-c", r#"echo "$1" \\ a"#, "x"]);
        check(r"a\sb", &["a", "b"]);
        check("", &[]);
    }

    #[test]
    fn what_is_quoted_comes_back() {
        for text in ["a", "a b", r#"x "y" $z `w` \v"#, "", "a;b", "\tq\n"] {
            assert_eq!(arguments(&format!("x {}", quoted(text))), ["x", text], "{text}");
        }
        assert_eq!(quoted("100%"), "100%%");
    }
}
