//! The budgets of the settings file: what a person writes there, and how netglance writes it. Pure.

use std::ops::RangeInclusive;

use parse_size::{ByteSuffix, Config};
use serde::Deserialize;
use toml::Spanned;

use super::{Budget, Limit, Mistake, Per, within};

/// How long a rate may have to be exceeded.
pub const RATE_SECS: RangeInclusive<u32> = 1..=3600;

/// `[[budget]]`, as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    app: Option<Spanned<String>>,
    limit: Option<Spanned<String>>,
    per: Option<Per>,
    seconds: Option<Spanned<i64>>,
    #[serde(default)]
    metered: bool,
}

impl Entry {
    /// What it means. `at`: where it begins.
    pub(super) fn read(&self, at: usize) -> Result<Budget, Mistake> {
        if let Some(app) = self.app.as_ref().filter(|app| app.get_ref().trim().is_empty()) {
            let reason = "app is empty; leave it out for a budget of all applications together".to_owned();
            return Err((app.span().start, reason));
        }
        let Some(limit) = &self.limit else {
            return Err((at, "a budget needs a limit, such as limit = \"5 GB\" with per = \"month\"".to_owned()));
        };
        let secs = self.seconds.as_ref().map(|secs| within("seconds", secs, RATE_SECS)).transpose()?;
        let limit = Limit::read(limit.get_ref(), self.per, secs).map_err(|reason| (limit.span().start, reason))?;
        Ok(Budget { app: self.app.as_ref().map(|app| app.get_ref().clone()), limit, metered: self.metered })
    }
}

impl Limit {
    /// What a person means by a limit and the time for which it holds. The error is a sentence for that person.
    pub fn read(text: &str, per: Option<Per>, secs: Option<u32>) -> Result<Self, String> {
        match (text.trim().strip_suffix("/s"), per, secs) {
            (_, Some(_), Some(_)) => {
                Err("a budget has either per, for an amount, or seconds, for a rate, not both".to_owned())
            }
            (None, Some(per), None) => Ok(Self::Usage { bytes: amount(text, text)?, per }),
            (Some(rate), None, Some(secs)) => Ok(Self::Rate { bytes: amount(rate, text)?, secs }),
            (None, None, None) => {
                amount(text, text)?;
                Err(format!("the limit \"{text}\" needs a period: per = \"day\", per = \"week\" or per = \"month\""))
            }
            (None, None, Some(_)) => {
                amount(text, text)?;
                Err(format!(
                    "the limit \"{text}\" is an amount, so it needs per instead of seconds; a rate would be \"1 MB/s\""
                ))
            }
            (Some(rate), None, None) => {
                amount(rate, text)?;
                Err(format!("the limit \"{text}\" is a rate: it needs a time, such as seconds = 60"))
            }
            (Some(rate), Some(_), None) => {
                amount(rate, text)?;
                Err(format!(
                    "the limit \"{text}\" is a rate, so it needs seconds instead of per; an amount would be \"5 GB\""
                ))
            }
        }
    }

    /// `limit` as [`Self::read`] reads it, to the byte, and as short as it can be written: "5 GB", "1.5 TiB", "1 MB/s".
    pub fn text(self) -> String {
        match self {
            Self::Usage { bytes, .. } => written(bytes),
            Self::Rate { bytes, .. } => written(bytes) + "/s",
        }
    }

    /// The period of an amount; `None`: a rate.
    pub fn per(self) -> Option<Per> {
        match self {
            Self::Usage { per, .. } => Some(per),
            Self::Rate { .. } => None,
        }
    }

    /// For how many seconds a rate has to be exceeded; `None`: an amount.
    pub fn secs(self) -> Option<u32> {
        match self {
            Self::Usage { .. } => None,
            Self::Rate { secs, .. } => Some(secs),
        }
    }
}

impl Per {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    /// Its name in the file.
    pub fn key(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

/// Bytes. `shown`: the text that the person wrote.
fn amount(text: &str, shown: &str) -> Result<u64, String> {
    // A "b" means bits in many places, so nobody guesses what it means here.
    let read = match text.trim().ends_with('B') {
        true => Config::new().with_byte_suffix(ByteSuffix::Require).parse_size(text.trim()),
        false => Err(parse_size::Error::InvalidDigit),
    };
    match read {
        Ok(0) => Err(format!("the limit \"{shown}\" must be more than 0")),
        Ok(bytes) => Ok(bytes),
        Err(parse_size::Error::PosOverflow) => Err(format!("the limit \"{shown}\" is too large")),
        Err(_) if shown.contains("/s") => {
            Err(format!("\"{shown}\" is not a limit: a rate should read like \"1 MB/s\" or \"500 kB/s\""))
        }
        Err(_) => Err(format!("\"{shown}\" is not a limit: it should read like \"500 MB\", \"5 GB\" or \"1.5 TiB\"")),
    }
}

/// The shortest text with up to three decimals; of two that are equally short, the one with the larger unit.
fn written(bytes: u64) -> String {
    const UNITS: [(&str, u64); 13] = [
        ("EB", 1_000_000_000_000_000_000),
        ("PB", 1_000_000_000_000_000),
        ("TB", 1_000_000_000_000),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("kB", 1_000),
        ("B", 1),
        ("EiB", 1 << 60),
        ("PiB", 1 << 50),
        ("TiB", 1 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ];
    let texts = UNITS.iter().filter_map(|&(name, unit)| {
        let (thousandths, rest) =
            (u128::from(bytes) * 1000 / u128::from(unit), u128::from(bytes) * 1000 % u128::from(unit));
        let number = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
        let fits = rest == 0 && thousandths >= 1000;
        fits.then(|| format!("{} {name}", number.trim_end_matches('0').trim_end_matches('.')))
    });
    texts.min_by_key(String::len).unwrap_or_else(|| format!("{bytes} B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_as_it_is_written() {
        let check = |text: &str, bytes: u64, written: &str| {
            let usage = Limit::Usage { bytes, per: Per::Month };
            assert_eq!(Limit::read(text, Some(Per::Month), None), Ok(usage));
            assert_eq!((usage.text().as_str(), usage.per(), usage.secs()), (written, Some(Per::Month), None));
            assert_eq!(Limit::read(written, Some(Per::Month), None), Ok(usage), "round trip");
            let rate = Limit::Rate { bytes, secs: 60 };
            assert_eq!(Limit::read(&format!("{text}/s"), None, Some(60)), Ok(rate));
            assert_eq!((rate.text(), rate.per(), rate.secs()), (format!("{written}/s"), None, Some(60)));
        };
        check("5 GB", 5_000_000_000, "5 GB");
        check("5GB", 5_000_000_000, "5 GB");
        check(" 500 MB ", 500_000_000, "500 MB");
        check("0.5 GB", 500_000_000, "500 MB");
        check("1.5 TiB", 1_649_267_441_664, "1.5 TiB");
        check("1.5 tiB", 1_649_267_441_664, "1.5 TiB");
        check("1 B", 1, "1 B");
        check("1 kB", 1000, "1 kB");
        check("1024 B", 1024, "1 KiB");
        check("12.5 MB", 12_500_000, "12.5 MB");
        check("1000 MiB", 1_048_576_000, "1000 MiB");
        check("1234567 B", 1_234_567, "1234567 B");
        check("1_234_567 B", 1_234_567, "1234567 B");
        check("18446744073709551615 B", u64::MAX, "18446744073709551615 B");
        check("16 EB", 16_000_000_000_000_000_000, "16 EB");
    }

    #[test]
    fn what_makes_no_sense_is_said_in_a_sentence() {
        let check = |text: &str, per: Option<Per>, secs: Option<u32>, expected: &str| {
            assert_eq!(Limit::read(text, per, secs), Err(expected.to_owned()));
        };
        let month = Some(Per::Month);
        for text in
            ["", "5", "GB", "5 Gb", "5 gb", "5 GBit", "five GB", "-5 GB", "5 XB", "5 GB a month", "5,5 GB", ". GB"]
        {
            let expected =
                format!("\"{text}\" is not a limit: it should read like \"500 MB\", \"5 GB\" or \"1.5 TiB\"");
            check(text, month, None, &expected);
        }
        for text in ["10 Mbit/s", "/s", "1 MB/second"] {
            let secs = text.ends_with("/s").then_some(60);
            let per = if secs.is_none() { month } else { None };
            let expected = format!("\"{text}\" is not a limit: a rate should read like \"1 MB/s\" or \"500 kB/s\"");
            check(text, per, secs, &expected);
        }
        check("0 GB", month, None, "the limit \"0 GB\" must be more than 0");
        check("0.1 B/s", None, Some(60), "the limit \"0.1 B/s\" must be more than 0");
        check("99 EB", month, None, "the limit \"99 EB\" is too large");
        check("5 GB", month, Some(60), "a budget has either per, for an amount, or seconds, for a rate, not both");
        let period = "the limit \"5 GB\" needs a period: per = \"day\", per = \"week\" or per = \"month\"";
        check("5 GB", None, None, period);
        let amount = "the limit \"5 GB\" is an amount, so it needs per instead of seconds; a rate would be \"1 MB/s\"";
        check("5 GB", None, Some(60), amount);
        check("1 MB/s", None, None, "the limit \"1 MB/s\" is a rate: it needs a time, such as seconds = 60");
        let rate = "the limit \"1 MB/s\" is a rate, so it needs seconds instead of per; an amount would be \"5 GB\"";
        check("1 MB/s", month, None, rate);
    }
}
