//! Writes settings into the text of their file and keeps everything else: comments, order, spelling. Pure.

use ipnet::IpNet;
use toml_edit::{Array, DocumentMut, Item, RawString, Table, Value};

use super::{Settings, Theme, Unit, prefix};

impl Settings {
    /// `text`, a file without a mistake, changed so that it has these settings. What is right already is left alone, and a
    /// missing key stays missing if the setting has its default.
    pub(super) fn written_into(&self, text: &str) -> Result<String, toml_edit::TomlError> {
        let mut document: DocumentMut = text.parse()?;
        let default = Self::default();
        let beat = self.beat.as_secs_f64();
        let beat_before = document.get("beat").and_then(|item| item.as_float().or(item.as_integer().map(|i| i as f64)));
        if beat_before.unwrap_or(default.beat.as_secs_f64()) != beat {
            put(document.as_table_mut(), "beat", beat.into());
        }
        let unit = if self.unit == Unit::Bits { "bits" } else { "bytes" };
        let theme = match self.theme {
            Theme::System => "system",
            Theme::Dark => "dark",
            Theme::Light => "light",
        };
        for (key, value, default) in [
            ("unit", unit, "bytes"),
            ("theme", theme, "system"),
            ("colours", self.colours.key(), default.colours.key()),
        ] {
            if document.get(key).and_then(Item::as_str).unwrap_or(default) != value {
                put(document.as_table_mut(), key, value.into());
            }
        }
        for (key, wanted) in [("internal", &self.internal), ("external", &self.external)] {
            let before = document.get_mut("prefixes").and_then(|p| p.get_mut(key)).and_then(Item::as_array_mut);
            if let Some(before) = before {
                replace_prefixes(before, wanted);
            } else if !wanted.is_empty() {
                let prefixes = document.entry("prefixes").or_insert_with(|| Table::new().into());
                if let Some(prefixes) = prefixes.as_table_like_mut() {
                    prefixes.insert(key, wanted.iter().map(ToString::to_string).collect::<Array>().into());
                }
            }
        }
        Ok(document.to_string())
    }
}

/// Sets a key. What is around its value, such as a comment, stays.
fn put(table: &mut Table, key: &str, mut value: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(before) => {
            *value.decor_mut() = before.decor().clone();
            *before = value;
        }
        None => _ = table.insert(key, value.into()),
    }
}

/// Takes out what is not wanted and adds what is missing. A comment belongs to the prefix before it on its line.
fn replace_prefixes(array: &mut Array, wanted: &[IpNet]) {
    let read = |value: &Value| value.as_str().and_then(|text| prefix(text).ok());
    for at in (0..array.len()).rev() {
        if !array.get(at).and_then(read).is_some_and(|net| wanted.contains(&net)) {
            remove(array, at);
        }
    }
    for net in wanted {
        if !array.iter().any(|value| read(value) == Some(*net)) {
            add(array, *net);
        }
    }
}

/// In toml_edit, an item's prefix begins with the comment that is on the previous item's line.
fn remove(array: &mut Array, at: usize) {
    let removed = array.remove(at);
    let before = removed.decor().prefix().and_then(RawString::as_str).unwrap_or_default().to_owned();
    let joined = |after: &str| match (after.find('\n'), before.find('\n')) {
        (Some(own_comment), before_end) => {
            let others = before_end.and_then(|end| before.get(..end)).unwrap_or_default();
            format!("{others}{}", after.get(own_comment..).unwrap_or_default())
        }
        (None, _) => before.clone(),
    };
    if let Some(next) = array.get_mut(at) {
        let after = joined(next.decor().prefix().and_then(RawString::as_str).unwrap_or_default());
        next.decor_mut().set_prefix(after);
    } else {
        let after = joined(array.trailing().as_str().unwrap_or_default());
        array.set_trailing(if after.trim().is_empty() && !after.contains('\n') { "" } else { &after });
    }
}

/// On a line of its own if the last one has one.
fn add(array: &mut Array, net: IpNet) {
    let trailing = array.trailing().as_str().unwrap_or_default().to_owned();
    let last = array.len().checked_sub(1).and_then(|at| array.get(at));
    let prefix = last.and_then(|value| value.decor().prefix()).and_then(RawString::as_str).unwrap_or_default();
    let line = prefix.rfind('\n').and_then(|at| prefix.get(at..)).map(str::to_owned);
    array.push(net.to_string());
    if let (Some(line), Some(added)) = (line, array.len().checked_sub(1).and_then(|at| array.get_mut(at))) {
        let comment = trailing.find('\n').and_then(|end| trailing.get(..end)).unwrap_or_default();
        added.decor_mut().set_prefix(format!("{comment}{line}"));
        array.set_trailing(trailing.get(comment.len()..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use super::*;

    fn settings(change: impl FnOnce(&mut Settings)) -> Settings {
        let mut settings = Settings::default();
        change(&mut settings);
        settings
    }

    #[test]
    fn a_save_changes_what_has_changed_and_nothing_else() {
        let check = |before: &str, settings: &Settings, after: &str| {
            assert_eq!(settings.written_into(before).unwrap(), after);
            assert_eq!(Settings::parse(after, Path::new("/c.toml")).unwrap(), *settings, "round trip");
        };
        check("", &Settings::default(), "");
        check("# mine\n", &settings(|s| s.unit = Unit::Bits), "unit = \"bits\"\n# mine\n");
        check(
            "# how I like it\ntheme = \"dark\" # always\n\nbeat=2   # slow\n",
            &settings(|s| (s.theme, s.beat) = (Theme::Light, Duration::from_millis(100))),
            "# how I like it\ntheme = \"light\" # always\n\nbeat=0.1   # slow\n",
        );
        check("beat = 0.50\nunit = 'bytes'\n", &Settings::default(), "beat = 0.50\nunit = 'bytes'\n");
        check("colours = \"green-red\"\n", &Settings::default(), "colours = \"blue-orange\"\n");
        let nets = |list: &[&str]| list.iter().map(|n| n.parse().unwrap()).collect::<Vec<IpNet>>();
        check(
            "",
            &settings(|s| (s.internal, s.external) = (nets(&["203.0.114.0/24"]), nets(&["10.0.0.7/32"]))),
            "[prefixes]\ninternal = [\"203.0.114.0/24\"]\nexternal = [\"10.0.0.7/32\"]\n",
        );
        check(
            "[prefixes]\ninternal = [\n  \"203.0.114.0/24\", # the office\n  \"203.0.115.0/24\", # gone\n] # that is all\n",
            &settings(|s| s.internal = nets(&["203.0.114.0/24", "fd00::/9"])),
            "[prefixes]\ninternal = [\n  \"203.0.114.0/24\", # the office\n  \"fd00::/9\",\n] # that is all\n",
        );
        check(
            "[prefixes]\nexternal = [\"10.0.0.7\"]\n",
            &settings(|s| s.external = nets(&["10.0.0.7/32"])),
            "[prefixes]\nexternal = [\"10.0.0.7\"]\n",
        );
        check(
            "[prefixes]\ninternal = [\"203.0.114.0/24\", \"203.0.115.0/24\"]\n",
            &settings(|s| s.internal = nets(&["203.0.115.0/24"])),
            "[prefixes]\ninternal = [\"203.0.115.0/24\"]\n",
        );
        check(
            "[prefixes]\ninternal = [\"203.0.114.0/24\", \"203.0.115.0/24\"]\n",
            &settings(|s| s.internal = nets(&["203.0.114.0/24"])),
            "[prefixes]\ninternal = [\"203.0.114.0/24\"]\n",
        );
        check(
            "[prefixes]\ninternal = [\n  \"203.0.114.0/24\", # the office\n]\n",
            &settings(|s| s.internal = nets(&["203.0.114.0/24", "203.0.115.0/24"])),
            "[prefixes]\ninternal = [\n  \"203.0.114.0/24\", # the office\n  \"203.0.115.0/24\",\n]\n",
        );
        check("prefixes = { external = [\"10.0.0.7\"] }\n", &Settings::default(), "prefixes = { external = [] }\n");
    }
}
