//! Writes settings into the text of their file and keeps everything else: comments, order, spelling. Pure.

use ipnet::IpNet;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, RawString, Table, TableLike, Value};

use super::{Budget, Limit, OwnApp, Per, Settings, Theme, Unit, colour, colour_text, prefix};

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
        self.put_names(&mut document);
        for (key, wanted) in [("internal", &self.internal), ("external", &self.external)] {
            let before = document.get_mut("prefixes").and_then(|p| p.get_mut(key)).and_then(Item::as_array_mut);
            if let Some(before) = before {
                replace(before, wanted, |text| prefix(text).ok(), IpNet::to_string);
            } else if !wanted.is_empty() {
                let prefixes = document.entry("prefixes").or_insert_with(|| Table::new().into());
                if let Some(prefixes) = prefixes.as_table_like_mut() {
                    prefixes.insert(key, wanted.iter().map(ToString::to_string).collect::<Array>().into());
                }
            }
        }
        self.put_history(&mut document);
        self.put_budgets(&mut document);
        self.put_apps(&mut document);
        Ok(document.to_string())
    }

    fn put_names(&self, document: &mut DocumentMut) {
        if document.get("reverse_dns").and_then(Item::as_bool).unwrap_or_default() != self.reverse_dns {
            put(document.as_table_mut(), "reverse_dns", self.reverse_dns.into());
        }
        let paths = |array: &Array| array.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
        let before = document.get("geoip").and_then(Item::as_array).map(paths);
        match &self.geoip {
            wanted if *wanted == before => {}
            Some(paths) => put(document.as_table_mut(), "geoip", Value::Array(paths.iter().collect())),
            None => _ = document.remove("geoip"),
        }
    }

    fn put_history(&self, document: &mut DocumentMut) {
        let default = Self::default();
        let before = |key: &str| document.get("history").and_then(|history| history.get(key));
        let number = |key: &str, default: i64| before(key).and_then(Item::as_integer).unwrap_or(default);
        let (limit_mb, billing_day) = (i64::from(self.history_limit_mb), i64::from(self.billing_day));
        let mut changed: Vec<(&str, Value)> = Vec::new();
        if before("record").and_then(Item::as_bool).unwrap_or(default.record) != self.record {
            changed.push(("record", self.record.into()));
        }
        if number("limit_mb", i64::from(default.history_limit_mb)) != limit_mb {
            changed.push(("limit_mb", limit_mb.into()));
        }
        if number("billing_day", i64::from(default.billing_day)) != billing_day {
            changed.push(("billing_day", billing_day.into()));
        }
        if changed.is_empty() {
            return;
        }
        let history = document.entry("history").or_insert_with(|| Table::new().into());
        if let Some(history) = history.as_table_like_mut() {
            changed.into_iter().for_each(|(key, value)| put(history, key, value));
        }
    }

    /// Each budget keeps the table that it has, and a changed one that of the budget that was in its place.
    fn put_budgets(&self, document: &mut DocumentMut) {
        // A list on one line may be there instead; it becomes tables once something in it changes.
        let before = document.get("budget").cloned().map(Item::into_array_of_tables).and_then(Result::ok);
        let before: Vec<Table> = before.into_iter().flatten().collect();
        let read: Vec<Option<Budget>> = before.iter().map(budget).collect();
        if read.iter().map(Option::as_ref).eq(self.budgets.iter().map(Some)) {
            return;
        }
        let mut free: Vec<Option<Table>> = before.into_iter().map(Some).collect();
        let mut tables: Vec<Option<Table>> = Vec::new();
        for wanted in &self.budgets {
            let same = (0..free.len())
                .find(|&at| free.get(at).is_some_and(Option::is_some) && read.get(at) == Some(&Some(wanted.clone())));
            tables.push(same.and_then(|at| free.get_mut(at)?.take()));
        }
        let tables = tables.into_iter().zip(&self.budgets).enumerate().map(|(at, (table, budget))| {
            table.unwrap_or_else(|| {
                let mut table = free.get_mut(at).and_then(Option::take).unwrap_or_default();
                put_budget(&mut table, budget);
                table
            })
        });
        let mut tables: Vec<Table> = tables.collect();
        // Where other tables lie between them, each place that is still needed stays one.
        let mut places: Vec<isize> = tables.iter().filter_map(Table::position).collect();
        places.sort_unstable();
        let moved = tables.iter_mut().filter(|table| table.position().is_some()).zip(places);
        moved.for_each(|(table, place)| table.set_position(Some(place)));
        let tables: ArrayOfTables = tables.into_iter().collect();
        if tables.is_empty() {
            document.remove("budget");
        } else {
            document.insert("budget", Item::ArrayOfTables(tables));
        }
    }

    /// Each app keeps the table that it has.
    fn put_apps(&self, document: &mut DocumentMut) {
        let before = document.get("apps").and_then(Item::as_table_like);
        let names: Vec<String> =
            before.into_iter().flat_map(TableLike::iter).map(|(name, _)| name.to_owned()).collect();
        if names.is_empty() && self.apps.is_empty() {
            return;
        }
        let apps = document.entry("apps").or_insert_with(|| {
            let mut apps = Table::new();
            apps.set_implicit(true);
            apps.into()
        });
        let Some(apps) = apps.as_table_like_mut() else { return };
        for name in names.iter().filter(|name| !self.apps.iter().any(|app| app.name == **name)) {
            apps.remove(name);
        }
        for app in &self.apps {
            if let Some(table) = apps.entry(&app.name).or_insert_with(|| Table::new().into()).as_table_like_mut() {
                put_app(table, app);
            }
        }
        if apps.is_empty() {
            document.remove("apps");
        }
    }
}

/// Has a table say this. What is right already is left alone.
fn put_app(table: &mut dyn TableLike, app: &OwnApp) {
    // A built-in app that is taken away has an entry that names nothing.
    let is_needed = |key: &str| key == "units" && app.is_empty();
    for (key, wanted) in
        [("units", &app.units), ("cgroups", &app.cgroups), ("apps", &app.apps), ("containers", &app.containers)]
    {
        match table.get_mut(key).and_then(Item::as_array_mut) {
            Some(before) => replace(before, wanted, |text| Some(text.to_owned()), Clone::clone),
            None if wanted.is_empty() && !is_needed(key) => {}
            None => put(table, key, Value::Array(wanted.iter().collect())),
        }
    }
    let colour_before = table.get("colour").and_then(Item::as_str).and_then(|text| colour(text).ok());
    match app.colour {
        wanted if wanted == colour_before => {}
        Some(wanted) => put(table, "colour", colour_text(wanted).into()),
        None => _ = table.remove("colour"),
    }
    match &app.icon {
        Some(icon) if table.get("icon").and_then(Item::as_str) != Some(icon) => put(table, "icon", icon.into()),
        None => _ = table.remove("icon"),
        Some(_) => {}
    }
}

/// What a table says. `None`: nothing that makes sense.
fn budget(table: &Table) -> Option<Budget> {
    let text = |key: &str| table.get(key).and_then(Item::as_str);
    let per = text("per").and_then(|text| Per::ALL.into_iter().find(|per| per.key() == text));
    let secs = table.get("seconds").and_then(Item::as_integer).and_then(|secs| u32::try_from(secs).ok());
    Some(Budget {
        app: text("app").map(str::to_owned),
        limit: Limit::read(text("limit")?, per, secs).ok()?,
        metered: table.get("metered").and_then(Item::as_bool).unwrap_or_default(),
    })
}

/// Has a table say this. What is right already is left alone.
fn put_budget(table: &mut Table, budget: &Budget) {
    let (per, secs) = (budget.limit.per(), budget.limit.secs());
    let is_right = |table: &Table, key: &str, value: &Value| match (key, table.get(key).and_then(Item::as_value)) {
        ("limit", Some(before)) => {
            before.as_str().and_then(|text| Limit::read(text, per, secs).ok()) == Some(budget.limit)
        }
        (_, Some(Value::String(before))) => Some(before.value().as_str()) == value.as_str(),
        (_, Some(Value::Integer(before))) => Some(*before.value()) == value.as_integer(),
        (_, Some(Value::Boolean(before))) => Some(*before.value()) == value.as_bool(),
        _ => false,
    };
    let wanted: [(&str, Option<Value>); 5] = [
        ("app", budget.app.as_deref().map(Value::from)),
        ("limit", Some(budget.limit.text().into())),
        ("per", per.map(|per| per.key().into())),
        ("seconds", secs.map(|secs| i64::from(secs).into())),
        ("metered", (budget.metered || table.contains_key("metered")).then(|| budget.metered.into())),
    ];
    for (key, value) in wanted {
        match value {
            None => _ = table.remove(key),
            Some(value) if is_right(table, key, &value) => {}
            Some(value) => put(table, key, value),
        }
    }
}

/// Sets a key. What is around its value, such as a comment, stays.
fn put(table: &mut dyn TableLike, key: &str, mut value: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(before) => {
            *value.decor_mut() = before.decor().clone();
            *before = value;
        }
        None => _ = table.insert(key, value.into()),
    }
}

/// Takes out what is not wanted and adds what is missing. A comment belongs to the value before it on its line.
fn replace<T: PartialEq>(array: &mut Array, wanted: &[T], read: fn(&str) -> Option<T>, text: fn(&T) -> String) {
    let read = |value: &Value| value.as_str().and_then(read);
    for at in (0..array.len()).rev() {
        if !array.get(at).and_then(read).is_some_and(|value| wanted.contains(&value)) {
            remove(array, at);
        }
    }
    for value in wanted {
        if !array.iter().any(|before| read(before).as_ref() == Some(value)) {
            add(array, &text(value));
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
fn add(array: &mut Array, text: &str) {
    let trailing = array.trailing().as_str().unwrap_or_default().to_owned();
    let last = array.len().checked_sub(1).and_then(|at| array.get(at));
    let prefix = last.and_then(|value| value.decor().prefix()).and_then(RawString::as_str).unwrap_or_default();
    let line = prefix.rfind('\n').and_then(|at| prefix.get(at..)).map(str::to_owned);
    array.push(text);
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

    #[track_caller]
    fn check(before: &str, settings: &Settings, after: &str) {
        assert_eq!(settings.written_into(before).unwrap(), after);
        assert_eq!(Settings::parse(after, Path::new("/c.toml")).unwrap(), *settings, "round trip");
    }

    #[test]
    fn apps_keep_their_tables_and_comments() {
        let app = |name: &str| OwnApp { name: name.to_owned(), ..OwnApp::default() };
        let list = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let web = OwnApp { units: list(&["web-*.service"]), containers: list(&["db", "cache"]), ..app("My Web") };
        let with = |apps: &[OwnApp]| settings(|s| s.apps = apps.to_vec());
        let one = "[apps.\"My Web\"]\nunits = [\"web-*.service\"]\ncontainers = [\"db\", \"cache\"]\n";
        check("", &with(std::slice::from_ref(&web)), one);
        check(one, &Settings::default(), "");
        check(
            "# mine\nbeat = 1\n",
            &settings(|s| (s.beat, s.apps) = (Duration::from_secs(1), vec![web.clone()])),
            &format!("# mine\nbeat = 1\n\n{one}"),
        );
        check(
            "[apps.\"My Web\"] # work\ncolour = \"#FF0000\" # red\nunits = [\n  \"web-*.service\", # all\n]\n",
            &with(&[OwnApp { colour: Some([255, 0, 0]), icon: Some("web".to_owned()), ..web }]),
            "[apps.\"My Web\"] # work\ncolour = \"#FF0000\" # red\nunits = [\n  \"web-*.service\", # all\n]\ncontainers = [\"db\", \"cache\"]\nicon = \"web\"\n",
        );
        check("", &with(&[app("StB")]), "[apps.StB]\nunits = []\n");
        check(
            "[apps]\na = { apps = [\"firefox\"] }\n",
            &with(&[OwnApp { apps: list(&["firefox", "mail"]), ..app("a") }]),
            "[apps]\na = { apps = [\"firefox\", \"mail\"] }\n",
        );
    }

    #[test]
    fn a_save_of_the_history_changes_its_keys_alone() {
        let all = settings(|s| (s.record, s.history_limit_mb, s.billing_day) = (false, 200, 15));
        check("", &all, "[history]\nrecord = false\nlimit_mb = 200\nbilling_day = 15\n");
        check(
            "beat = 1\n",
            &settings(|s| (s.beat, s.billing_day) = (Duration::from_secs(1), 15)),
            "beat = 1\n\n[history]\nbilling_day = 15\n",
        );
        check(
            "[history] # what is kept\nlimit_mb = 1_000 # the disk is large\nbilling_day = 2 # of the plan\n",
            &settings(|s| (s.history_limit_mb, s.billing_day) = (1000, 3)),
            "[history] # what is kept\nlimit_mb = 1_000 # the disk is large\nbilling_day = 3 # of the plan\n",
        );
        check("history = { record = false }\n", &Settings::default(), "history = { record = true }\n");
        check("history.billing_day = 4\n", &settings(|s| s.billing_day = 5), "history.billing_day = 5\n");
        check("[history]\n", &Settings::default(), "[history]\n");
    }

    #[test]
    fn a_save_of_where_names_come_from_changes_that_alone() {
        let paths = |paths: &[&str]| Some(paths.iter().map(|path| (*path).to_owned()).collect());
        check("# mine\n", &settings(|s| s.reverse_dns = true), "reverse_dns = true\n# mine\n");
        check("reverse_dns = true # yes\nbeat=0.5\n", &Settings::default(), "reverse_dns = false # yes\nbeat=0.5\n");
        let list = "geoip = [ # mine\n  '/a.mmdb', # one\n  \"~/b.mmdb\",\n]\n[history]\n";
        check(list, &settings(|s| s.geoip = paths(&["/a.mmdb", "~/b.mmdb"])), list);
        check(list, &settings(|s| s.geoip = paths(&["/a.mmdb"])), "geoip = [\"/a.mmdb\"]\n[history]\n");
        check(list, &Settings::default(), "[history]\n");
        check("", &settings(|s| s.geoip = paths(&[])), "geoip = []\n");
    }

    fn usage(app: Option<&str>, bytes: u64, per: Per) -> Budget {
        Budget { app: app.map(str::to_owned), limit: Limit::Usage { bytes, per }, metered: false }
    }

    fn rate(app: Option<&str>, bytes: u64, secs: u32) -> Budget {
        Budget { app: app.map(str::to_owned), limit: Limit::Rate { bytes, secs }, metered: true }
    }

    const THREE: &str = "\
# mine
beat = 1 # slow

# the plan
[[budget]] # first
limit = '5000 MB' # with two cards
per = \"month\"
app = \"StB\"

# at night
[[budget]]
limit = \"1 MB/s\"
seconds = 60
metered = true

[prefixes] # ours
internal = [\"203.0.114.0/24\"]

# last
[[budget]]
limit = \"500 MB\"
per = \"day\" # from midnight
metered = false
# the end
";

    fn three(change: impl FnOnce(&mut Vec<Budget>)) -> Settings {
        settings(|s| {
            s.beat = Duration::from_secs(1);
            s.internal = vec!["203.0.114.0/24".parse().unwrap()];
            s.budgets = vec![
                usage(Some("StB"), 5_000_000_000, Per::Month),
                rate(None, 1_000_000, 60),
                usage(None, 500_000_000, Per::Day),
            ];
            change(&mut s.budgets);
        })
    }

    #[test]
    fn new_budgets_are_written_as_a_person_would() {
        let budgets = vec![usage(Some("StB"), 5_000_000_000, Per::Month), rate(None, 1_500_000, 60)];
        check(
            "",
            &settings(|s| s.budgets = budgets.clone()),
            "[[budget]]\napp = \"StB\"\nlimit = \"5 GB\"\nper = \"month\"\n\n[[budget]]\nlimit = \"1.5 MB/s\"\nseconds = 60\nmetered = true\n",
        );
        check(
            "# mine\nunit = \"bytes\"\n\n[history]\nrecord = true\n",
            &settings(|s| s.budgets = vec![usage(None, 1 << 40, Per::Week)]),
            "# mine\nunit = \"bytes\"\n\n[history]\nrecord = true\n\n[[budget]]\nlimit = \"1 TiB\"\nper = \"week\"\n",
        );
    }

    #[test]
    fn untouched_budgets_keep_comments_order_and_spelling() {
        check(THREE, &three(|_| ()), THREE);
        let last = "\n[[budget]]\napp = \"Mail\"\nlimit = \"1 GB\"\nper = \"week\"\n# the end\n";
        check(
            THREE,
            &three(|budgets| budgets.push(usage(Some("Mail"), 1_000_000_000, Per::Week))),
            &THREE.replace("# the end\n", last),
        );
        let without = |from: &str, to: &str| {
            let (start, end) = (THREE.find(from).unwrap(), THREE.find(to).unwrap());
            format!("{}{}", &THREE[..start], &THREE[end..])
        };
        check(THREE, &three(|budgets| drop(budgets.remove(0))), &without("\n# the plan", "\n# at night"));
        check(THREE, &three(|budgets| drop(budgets.remove(1))), &without("\n# at night", "\n[prefixes]"));
        check(THREE, &three(|budgets| drop(budgets.remove(2))), &without("\n# last", "# the end"));
        check(
            THREE,
            &three(Vec::clear),
            "# mine\nbeat = 1 # slow\n\n[prefixes] # ours\ninternal = [\"203.0.114.0/24\"]\n# the end\n",
        );
    }

    #[test]
    fn a_changed_budget_keeps_the_rest_of_its_table() {
        let changed = |from: &str, to: &str| THREE.replace(from, to);
        check(
            THREE,
            &three(|budgets| budgets[0] = usage(Some("StB"), 6_000_000_000, Per::Month)),
            &changed("'5000 MB' # with", "\"6 GB\" # with"),
        );
        check(
            THREE,
            &three(|budgets| budgets[0] = usage(None, 5_000_000_000, Per::Month)),
            &changed("app = \"StB\"\n", ""),
        );
        check(
            THREE,
            &three(|budgets| budgets[1] = usage(None, 1_000_000, Per::Day)),
            &changed(
                "limit = \"1 MB/s\"\nseconds = 60\nmetered = true\n",
                "limit = \"1 MB\"\nmetered = false\nper = \"day\"\n",
            ),
        );
        check(THREE, &three(|budgets| budgets[2].metered = true), &changed("metered = false\n", "metered = true\n"));
        check(
            THREE,
            &three(|budgets| budgets.swap(0, 2)),
            "# mine\nbeat = 1 # slow\n\n# last\n[[budget]]\nlimit = \"500 MB\"\nper = \"day\" # from midnight\nmetered = false\n\
             \n# at night\n[[budget]]\nlimit = \"1 MB/s\"\nseconds = 60\nmetered = true\n\
             \n[prefixes] # ours\ninternal = [\"203.0.114.0/24\"]\n\
             \n# the plan\n[[budget]] # first\nlimit = '5000 MB' # with two cards\nper = \"month\"\napp = \"StB\"\n# the end\n",
        );
    }

    #[test]
    fn a_list_of_budgets_on_one_line_is_left_alone_until_something_in_it_changes() {
        let list = "budget = [{ app = \"StB\", limit = \"5 GB\", per = \"month\" }] # mine\nbeat = 1\n";
        let one = |bytes| {
            settings(|s| (s.beat, s.budgets) = (Duration::from_secs(1), vec![usage(Some("StB"), bytes, Per::Month)]))
        };
        check(list, &one(5_000_000_000), list);
        check(list, &one(6_000_000_000), "beat = 1\n\n[[budget]]\napp = \"StB\"\nlimit = \"6 GB\"\nper = \"month\"\n");
        check("budget = []\n", &Settings::default(), "budget = []\n");
    }
}
