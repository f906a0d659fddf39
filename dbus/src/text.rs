//! Makes names from strangers safe to show. Whoever makes a cgroup, a unit or a process chooses its name, and it may contain
//! characters that control a terminal, reverse the text or are invisible. Pure. What is compared or stored is the name itself,
//! unchanged.

use std::borrow::Cow;

/// Replaces a character that must not be shown.
const REPLACEMENT: char = '\u{FFFD}';

/// The text with U+FFFD in place of each character that must not be shown: control characters (including C1 and line ends),
/// line and paragraph separators, characters that change the direction of text, and those without width (Unicode's
/// Default_Ignorable_Code_Point and the invisible ones of its category Cf). A joiner stays between two characters of a script
/// whose letters join, where it is part of the spelling; elsewhere it would make two names look the same. The number of
/// characters stays the same.
pub fn printable(text: &str) -> Cow<'_, str> {
    replaced(text, |c| !is_shown(c))
}

/// The same for a text of several lines whose line ends don't come from a name.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| c != '\n' && !is_shown(c))
}

/// [`printable`], cut to `most` characters with "…" at the end. For menus and the like, which are as wide as their longest
/// entry.
pub fn brief(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => printable(text),
        Some(_) => {
            let kept: String = printable(text).chars().take(most.saturating_sub(1)).collect();
            Cow::Owned(kept + "…")
        }
    }
}

fn replaced(text: &str, is_replaced: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_replaced) {
        return Cow::Borrowed(text);
    }
    let mut replaced = String::with_capacity(text.len());
    let mut before = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let kept =
            !is_replaced(c) || is_joiner(c) && before.is_some_and(joins) && rest.clone().next().is_some_and(joins);
        replaced.push(if kept { c } else { REPLACEMENT });
        before = Some(c);
    }
    if replaced == text { Cow::Borrowed(text) } else { Cow::Owned(replaced) }
}

/// ZERO WIDTH NON-JOINER and ZERO WIDTH JOINER. Persian and the languages of India can't be spelt without them.
const fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200C}' | '\u{200D}')
}

/// Whether a joiner beside it changes how it looks: it is of a script whose letters join. Unicode 16, Blocks.txt.
const fn joins(c: char) -> bool {
    is_shown(c)
        && matches!(
            c,
            // Arabic, Syriac, Thaana, N'Ko, and from Mandaic to the last of the Arabic extensions.
            '\u{600}'..='\u{7FF}' | '\u{840}'..='\u{8FF}'
            // Devanagari to Sinhala, Mongolian.
            | '\u{900}'..='\u{DFF}' | '\u{1800}'..='\u{18AF}'
        )
}

/// Whether it may be shown as it is, whatever stands beside it. The list is that of Unicode 16, DerivedCoreProperties.txt and UnicodeData.txt.
pub const fn is_shown(c: char) -> bool {
    !matches!(
        c,
        // Cc: C0, DEL and C1.
        '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}'
        // Cf and Default_Ignorable_Code_Point: soft hyphen, joiners, marks of direction, fillers, variation selectors, tags.
        | '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}'
        // Zl, Zp, and the embeddings and overrides behind them.
        | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
        | '\u{13430}'..='\u{1343F}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_or_is_not_seen_is_replaced() {
        for (text, expected) in [
            ("", ""),
            ("stb-next-shell@split.service", "stb-next-shell@split.service"),
            ("Über die Straße — 日本語, עברית, 🙂", "Über die Straße — 日本語, עברית, 🙂"),
            ("a\u{1b}]0;PWNED\u{7}b", "a\u{FFFD}]0;PWNED\u{FFFD}b"),
            ("two\nlines\r\tof\0it", "two\u{FFFD}lines\u{FFFD}\u{FFFD}of\u{FFFD}it"),
            ("\u{7f}\u{80}\u{9b}31m\u{9d}\u{9f}", "\u{FFFD}\u{FFFD}\u{FFFD}31m\u{FFFD}\u{FFFD}"),
            ("exe.\u{202e}gnp\u{202c}", "exe.\u{FFFD}gnp\u{FFFD}"),
            ("\u{2066}a\u{2069}\u{200e}\u{61c}", "\u{FFFD}a\u{FFFD}\u{FFFD}\u{FFFD}"),
            ("St\u{200b}B\u{feff}\u{2060}\u{ad}", "St\u{FFFD}B\u{FFFD}\u{FFFD}\u{FFFD}"),
            ("a\u{2028}b\u{2029}c", "a\u{FFFD}b\u{FFFD}c"),
            ("x\u{e0041}\u{fe0f}\u{3164}", "x\u{FFFD}\u{FFFD}\u{FFFD}"),
        ] {
            assert_eq!(printable(text), expected, "{text:?}");
        }
        assert!(matches!(printable("plain"), Cow::Borrowed(_)));
        assert_eq!(printable_lines("a\nb\u{1b}c\r\n"), "a\nb\u{FFFD}c\u{FFFD}\n");
    }

    #[test]
    fn joiners_stay_where_they_are_part_of_the_spelling() {
        for (text, expected) in [
            ("نرم\u{200c}افزار", "نرم\u{200c}افزار"),
            ("क्\u{200d}ष \u{dc1}\u{dca}\u{200d}\u{dbb}\u{dd3}", "क्\u{200d}ष \u{dc1}\u{dca}\u{200d}\u{dbb}\u{dd3}"),
            ("ߒ\u{200d}ߓ ᠠ\u{200d}ᠡ ܐ\u{200c}ܒ", "ߒ\u{200d}ߓ ᠠ\u{200d}ᠡ ܐ\u{200c}ܒ"),
            ("St\u{200c}B", "St\u{FFFD}B"),
            ("\u{200d}نرم\u{200c}", "\u{FFFD}نرم\u{FFFD}"),
            ("نرم\u{200c}\u{200c}افزار", "نرم\u{FFFD}\u{FFFD}افزار"),
            ("نرم\u{200c}x\u{200c}افزار", "نرم\u{FFFD}x\u{FFFD}افزار"),
            ("ا\u{200c}\u{61c}ا", "ا\u{FFFD}\u{FFFD}ا"),
            ("👩\u{200d}💻", "👩\u{FFFD}💻"),
        ] {
            assert_eq!(printable(text), expected, "{text:?}");
            assert_eq!(printable_lines(text), expected, "{text:?}");
        }
        assert!(matches!(printable("نرم\u{200c}افزار"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_brief_text_says_that_there_was_more() {
        for (text, expected) in [("", ""), ("abcd", "abcd"), ("abcde", "abc…"), ("ä\u{1b}ßöü", "ä\u{FFFD}ß…")]
        {
            assert_eq!(brief(text, 4), expected);
        }
        assert_eq!(brief(&"x".repeat(100_000), 60).chars().count(), 60);
    }
}
