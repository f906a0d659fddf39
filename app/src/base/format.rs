//! Figures as text. The only place that knows about bits. Pure.

use crate::base::settings::Unit;

const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];

/// A rate given in bytes per second: "1.23 MB/s", "640 kbit/s". Powers of 1000, three digits.
pub fn rate(bytes_per_sec: f64, unit: Unit) -> String {
    let (value, name) = in_unit(bytes_per_sec, unit);
    scaled(value, name, "/s")
}

/// An amount of bytes: "20.0 MB". Always in bytes, as for disks and data plans.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, "B", "")
}

/// A figure without needless digits: "5 GB" of "5.00 GB". For what a person has set, and beside it.
pub fn trimmed(figure: &str) -> String {
    match figure.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => figure.to_owned(),
    }
}

/// A rate's value in the unit that is shown, and that unit's name.
fn in_unit(bytes_per_sec: f64, unit: Unit) -> (f64, &'static str) {
    match unit {
        Unit::Bytes => (bytes_per_sec, "B"),
        Unit::Bits => (bytes_per_sec * 8.0, "bit"),
    }
}

fn scaled(value: f64, name: &str, per: &str) -> String {
    let mut value = value;
    let mut prefix = 0;
    // 999.5 would be shown as 1000.
    while value >= 999.5 && prefix + 1 < PREFIXES.len() {
        value /= 1000.0;
        prefix += 1;
    }
    let digits = match value {
        _ if prefix == 0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}{name}{per}", PREFIXES.get(prefix).unwrap_or(&""))
}

/// The top of a rate axis and the distance of its ticks, both in bytes per second, and both round numbers in the unit that is
/// shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// Where the axis ends.
    pub top: f64,
    /// The distance from tick to tick.
    pub step: f64,
}

impl Axis {
    /// The smallest round axis that holds `most`; never less than 1 kB/s (8 kbit/s), so that idle noise looks idle.
    pub fn for_most(most: f64, unit: Unit) -> Self {
        const STEPS: f64 = 4.0;
        let factor = in_unit(1.0, unit).0;
        let most = (most.max(1000.0) * factor) / STEPS;
        let power = 10_f64.powf(most.log10().floor());
        let round = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|m| m * power >= most * 0.999_999).unwrap_or(10.0);
        let step = round * power / factor;
        Self { top: step * STEPS, step }
    }

    /// The axis to show next. It rises at once, but falls only when less than a third of it was needed, so that it doesn't
    /// jump.
    pub fn next(self, most: f64, unit: Unit) -> Self {
        let fitting = Self::for_most(most, unit);
        let round_still = Self::for_most(self.top, unit) == self;
        if round_still && most <= self.top && fitting.top * 3.0 > self.top { self } else { fitting }
    }

    /// A tick's text, without needless digits.
    pub fn label(self, bytes_per_sec: f64, unit: Unit) -> String {
        if bytes_per_sec == 0.0 {
            return "0".to_owned();
        }
        trimmed(&rate(bytes_per_sec, unit))
    }

    /// The same of an axis of bytes: "1.5 GB".
    pub fn label_bytes(self, bytes: f64) -> String {
        if bytes == 0.0 { "0".to_owned() } else { trimmed(&scaled(bytes, "B", "")) }
    }
}

/// What a rate can be written in, and how many bytes a second that is each.
pub fn rate_units(unit: Unit) -> [(&'static str, u64); 3] {
    match unit {
        Unit::Bytes => [("kB/s", 1000), ("MB/s", 1_000_000), ("GB/s", 1_000_000_000)],
        Unit::Bits => [("kbit/s", 125), ("Mbit/s", 125_000), ("Gbit/s", 125_000_000)],
    }
}

/// A clause as a sentence, with a capital and a full stop.
pub fn sentence(clause: &str) -> String {
    let mut letters = clause.trim_end_matches('.').chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).chain(['.']).collect()
}

/// A number with thousands separators: "1,234,567".
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_amounts_have_three_digits() {
        for (value, in_bytes, in_bits) in [
            (0.0, "0 B/s", "0 bit/s"),
            (0.4, "0 B/s", "3 bit/s"),
            (999.4, "999 B/s", "8.00 kbit/s"),
            (999.6, "1.00 kB/s", "8.00 kbit/s"),
            (80_000.0, "80.0 kB/s", "640 kbit/s"),
            (1_234_567.0, "1.23 MB/s", "9.88 Mbit/s"),
            (9_996_000.0, "10.0 MB/s", "80.0 Mbit/s"),
            (125_000_000.0, "125 MB/s", "1.00 Gbit/s"),
            (1e18, "1000 PB/s", "8000 Pbit/s"),
        ] {
            assert_eq!(rate(value, Unit::Bytes), in_bytes);
            assert_eq!(rate(value, Unit::Bits), in_bits);
        }
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(20_000_000), "20.0 MB");
        assert_eq!(bytes(u64::MAX), "18447 PB");
        for (amount, expected) in [(0, "0 B"), (5_000_000_000, "5 GB"), (4_100_000, "4.1 MB"), (500_000, "500 kB")] {
            assert_eq!(trimmed(&bytes(amount)), expected);
        }
    }

    #[test]
    fn sentences_and_numbers_are_as_people_write_them() {
        for (clause, expected) in [("a set is full", "A set is full."), ("No.", "No."), ("ä", "Ä.")] {
            assert_eq!(sentence(clause), expected);
        }
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn axes_are_round_in_what_is_shown() {
        let check = |most: f64, unit, labels: &str| {
            let axis = Axis::for_most(most, unit);
            let found: Vec<_> = (0..=4).map(|i| axis.label(axis.step * f64::from(i), unit)).collect();
            assert_eq!(found.join(", "), labels, "{most}");
            assert!(axis.top >= most);
        };
        check(0.0, Unit::Bytes, "0, 250 B/s, 500 B/s, 750 B/s, 1 kB/s");
        check(1_200_000.0, Unit::Bytes, "0, 500 kB/s, 1 MB/s, 1.5 MB/s, 2 MB/s");
        check(200_000.0, Unit::Bytes, "0, 50 kB/s, 100 kB/s, 150 kB/s, 200 kB/s");
        check(12_500_000.0, Unit::Bits, "0, 25 Mbit/s, 50 Mbit/s, 75 Mbit/s, 100 Mbit/s");
        let axis = Axis::for_most(5.5e9, Unit::Bytes);
        assert_eq!([0.0, 1.0, 4.0].map(|i| axis.label_bytes(axis.step * i)), ["0", "2 GB", "8 GB"]);
    }

    #[test]
    fn the_axis_rises_at_once_and_falls_late() {
        let axis = Axis::for_most(900_000.0, Unit::Bytes);
        assert_eq!(axis.top, 1_000_000.0);
        assert_eq!(axis.next(1_001_000.0, Unit::Bytes).top, 2_000_000.0);
        assert_eq!(axis.next(390_000.0, Unit::Bytes), axis);
        assert_eq!(axis.next(300_000.0, Unit::Bytes), axis);
        assert_eq!(axis.next(190_000.0, Unit::Bytes).top, 200_000.0);
        assert_eq!(axis.next(900_000.0, Unit::Bits), Axis::for_most(900_000.0, Unit::Bits));
    }
}
