//! What the tray's icon says: the rates of all that is watched, and a tooltip. Pure.

use netglance_dbus::text::{brief, printable};

use crate::{
    base::{format, settings::Unit},
    look::{
        rate::{Gap, Rate},
        reading::Reading,
    },
};

/// Characters of an app's name in the tray's menu and tooltip: a panel makes them as wide as the longest one.
pub const NAME_CHARS: usize = 60;

/// What all watched apps move together; `None` where nothing is known of any.
pub fn sum(readings: &[Reading]) -> Option<Rate> {
    let rates = readings.iter().filter_map(|reading| reading.rate.as_ref().ok());
    rates.copied().reduce(|a, b| Rate { rx: a.rx + b.rx, tx: a.tx + b.tx })
}

/// A line for each app.
pub fn tooltip(readings: &[Reading], unit: Unit) -> String {
    let line = |reading: &Reading| {
        let app = brief(&reading.app, NAME_CHARS);
        match &reading.rate {
            Ok(rate) => format!("{app}  down {}  up {}", format::rate(rate.rx, unit), format::rate(rate.tx, unit)),
            Err(Gap::Waiting(_)) => format!("{app}  is not running"),
            Err(gap) => format!("{app}  {}", printable(&gap.to_string())),
        }
    };
    if readings.is_empty() {
        return "No application chosen yet".to_owned();
    }
    readings.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::{rate::Bytes, sampler::Source};

    fn reading(app: &str, rate: Result<Rate, Gap>) -> Reading {
        Reading {
            id: app.into(),
            time: jiff::Timestamp::UNIX_EPOCH,
            boottime_ns: 0,
            elapsed_secs: 0.0,
            app: app.into(),
            source: Source::Exact,
            bytes: Bytes::default(),
            rate,
            unmeasured_udp_sockets: None,
            lacks_containers: false,
            units: Vec::new(),
        }
    }

    #[test]
    fn a_tooltip_has_a_line_for_each_app_and_says_why_there_is_no_rate() {
        let check = |readings: &[Reading], expected: &str| assert_eq!(tooltip(readings, Unit::Bytes), expected);
        let stb = reading("StB", Ok(Rate { rx: 1.2e6, tx: 8e4 }));
        check(&[], "No application chosen yet");
        check(std::slice::from_ref(&stb), "StB  down 1.20 MB/s  up 80.0 kB/s");
        check(
            &[
                stb.clone(),
                reading("Mail", Err(Gap::Waiting("mail".into()))),
                reading("x", Err(Gap::CountingRestarted)),
            ],
            "StB  down 1.20 MB/s  up 80.0 kB/s\nMail  is not running\nx  counting restarted",
        );
        assert_eq!(
            sum(&[stb.clone(), stb, reading("x", Err(Gap::CountingRestarted))]),
            Some(Rate { rx: 2.4e6, tx: 1.6e5 })
        );
        assert_eq!(sum(&[reading("x", Err(Gap::CountingRestarted))]), None);
    }
}
