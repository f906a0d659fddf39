//! Which of the names that strangers give may be shown. Pure.

/// The longest name (RFC 1035, section 2.3.4), as text without its last dot.
const MOST: usize = 253;

/// The name, without a dot at its end. `None`: it is none that a host may have, or it could be taken for an address. Nothing in it
/// is changed otherwise: part of a name would be another name.
pub fn host_name(text: &str) -> Option<&str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let is_of_one = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(is_of_one)
    };
    // As C reads them, 0x7f000001, 017.1 and 1 are addresses.
    let is_number = |label: &str| {
        label.bytes().all(|c| c.is_ascii_digit())
            || label.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|c| c.is_ascii_hexdigit()))
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    (name.len() <= MOST && name.split('.').all(is_label) && !is_number(last)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_host_may_have_are_shown() {
        for name in ["example.com", "a", "xn--bcher-kva.example", "_sip._tcp.example.com", "1e100.net", "ec2-3-4.x2"] {
            assert_eq!(host_name(name), Some(name));
        }
        assert_eq!(host_name("example.com."), Some("example.com"));
        let label = "a".repeat(63);
        let long = [label.as_str(); 4].join(".");
        assert_eq!((long.len(), host_name(&long)), (255, None));
        assert!(host_name(&long[2..]).is_some());
        for name in [
            "",
            ".",
            "a..b",
            ".a",
            "a..",
            &"a".repeat(64),
            "<b>bold</b>",
            "a b",
            "a\u{1b}[31m",
            "bücher.example",
            "a/b",
            "a:443",
            "93.184.216.34",
            "93.184.216.34.",
            "1",
            "0x7f000001",
            "a.0x",
            "evil.example.93",
            "2606:2800:220:1::34",
        ] {
            assert_eq!(host_name(name), None, "{name:?}");
        }
    }
}
