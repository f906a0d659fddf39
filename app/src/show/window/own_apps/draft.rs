//! What is typed and ticked of an app of one's own and not in force yet: what it means, what of that runs now, and what is wrong
//! with it. Pure.

use netglance_dbus::text::printable;

use super::{
    super::field::Field,
    parts::{Part, PartUnit, Parts},
};
use crate::{
    base::{
        format,
        settings::{self, OwnApp, Settings},
    },
    look::{
        apps::Apps,
        reading::{AppReading, Kind},
        target::{Target, lasting_app},
    },
};

/// An app as it is typed and ticked.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// What is changed; `None`: it is a new one.
    pub before: Option<OwnApp>,
    /// What it is called.
    pub name: Field,
    /// The ids of the apps that are ticked.
    pub apps: Vec<String>,
    /// The patterns of the units that are ticked.
    pub units: Vec<String>,
    /// The patterns of the containers and projects that are ticked.
    pub containers: Vec<String>,
    /// Patterns for units that are typed.
    pub unit_patterns: Vec<Field>,
    /// Patterns for containers that are typed.
    pub container_patterns: Vec<Field>,
    /// Paths that are typed.
    pub cgroups: Vec<Field>,
    /// `None`: the next colour that is free.
    pub colour: Option<[u8; 3]>,
    /// A name or path; empty: that of the first app in it that has one.
    pub icon: Field,
}

/// What a pattern or path stands for now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// The units and containers, each once, in the order of the list.
    pub names: Vec<String>,
    /// Apps of one's own to which some of them belong already.
    pub taken: Vec<String>,
}

/// Takes a text into a list, or out of it.
fn set(list: &mut Vec<String>, text: &str, on: bool) {
    list.retain(|other| other != text);
    if on {
        list.push(text.to_owned());
    }
}

impl Matches {
    /// What a pattern or path stands for, among all that runs.
    fn of(wanted: OwnApp, name: &str, apps: &[AppReading]) -> Self {
        let target = Target::own(&wanted);
        let mut matches = Self::default();
        for app in apps {
            for unit in app.cgroups.iter().filter_map(|path| target.unit_of(path)) {
                let unit = printable(unit.unit).into_owned();
                if !matches.names.contains(&unit) {
                    matches.names.push(unit);
                }
                if app.kind == Kind::Own && app.id != name && !matches.taken.contains(&app.id) {
                    matches.taken.push(app.id.clone());
                }
            }
        }
        matches
    }

    /// In words.
    pub fn words(&self) -> String {
        let taken = self.taken.iter().map(|app| printable(app)).collect::<Vec<_>>().join(", ");
        let taken = if taken.is_empty() { taken } else { format!(" (some are already in {taken})") };
        match self.names.len() {
            0 => "Matches nothing that runs now.".to_owned(),
            count => format!("Matches {count} now: {}{taken}", listed(&self.names, SHOWN)),
        }
    }
}

/// So many names are said.
const SHOWN: usize = 4;

/// "a, b and 3 more".
fn listed(names: &[String], most: usize) -> String {
    let (said, rest) = names.split_at(names.len().min(most));
    match (said, rest.len()) {
        ([said @ .., last], 0) if !said.is_empty() => format!("{} and {last}", said.join(", ")),
        (said, 0) => said.join(", "),
        (said, more) => format!("{} and {more} more", said.join(", ")),
    }
}

impl Draft {
    /// What stands in an app that is to be changed.
    pub fn of(app: &OwnApp, parts: &Parts<'_>) -> Self {
        let units = parts.apps.iter().flat_map(|part| &part.units).map(|unit| &unit.key);
        let known: Vec<_> = units.collect();
        let projects = parts
            .containers
            .iter()
            .flat_map(|part| std::iter::once(&part.key).chain(part.units.iter().map(|unit| &unit.key)));
        let running: Vec<_> = projects.collect();
        let split = |list: &[String], known: &[&String]| -> (Vec<String>, Vec<Field>) {
            let (ticked, typed): (Vec<_>, Vec<_>) = list.iter().cloned().partition(|text| known.contains(&text));
            (ticked, typed.into_iter().map(Field::new).collect())
        };
        let (units, unit_patterns) = split(&app.units, &known);
        let (containers, container_patterns) = split(&app.containers, &running);
        Self {
            name: Field::new(app.name.clone()),
            apps: app.apps.clone(),
            units,
            containers,
            unit_patterns,
            container_patterns,
            cgroups: app.cgroups.iter().cloned().map(Field::new).collect(),
            colour: app.colour,
            icon: Field::new(app.icon.clone().unwrap_or_default()),
            before: Some(app.clone()),
        }
    }

    /// Whether a part is ticked as a whole.
    pub fn ticks(&self, part: &Part<'_>, of_containers: bool) -> bool {
        let ticked = if of_containers { &self.containers } else { &self.apps };
        ticked.contains(&part.key)
    }

    /// Ticks a part as a whole, or doesn't any more. A login session has another number at each login, so that it goes by its units.
    pub fn tick(&mut self, part: &Part<'_>, of_containers: bool, on: bool) {
        if !of_containers && lasting_app(&part.key) != part.key {
            return part.units.iter().for_each(|unit| self.tick_unit(unit, false, on));
        }
        set(if of_containers { &mut self.containers } else { &mut self.apps }, &part.key, on);
        if on {
            // Single units of it say nothing any more.
            part.units.iter().filter(|unit| unit.key != part.key).for_each(|unit| {
                self.tick_unit(unit, of_containers, false);
            });
        }
    }

    /// Whether a unit or container is ticked itself.
    pub fn ticks_unit(&self, unit: &PartUnit, of_containers: bool) -> bool {
        let ticked = if of_containers { &self.containers } else { &self.units };
        ticked.contains(&unit.key)
    }

    /// Ticks a unit or container, or doesn't any more.
    pub fn tick_unit(&mut self, unit: &PartUnit, of_containers: bool, on: bool) {
        set(if of_containers { &mut self.containers } else { &mut self.units }, &unit.key, on);
    }

    /// Ticks what is an app in the list.
    pub fn tick_app(&mut self, id: &str, parts: &Parts<'_>) {
        let is_it = |part: &&Part<'_>| part.app.is_some_and(|app| app.id == id);
        if let Some(part) = parts.apps.iter().find(is_it) {
            return self.tick(part, false, true);
        }
        let unit = parts.containers.iter().flat_map(|part| &part.units).find(|unit| unit.app == id);
        match unit {
            Some(unit) => self.tick_unit(unit, true, true),
            None => set(&mut self.apps, id, true),
        }
    }

    /// The name as it would be.
    pub fn called(&self) -> &str {
        self.name.text().trim()
    }

    /// The app as it would be, without what can't be.
    pub fn app(&self) -> OwnApp {
        let before = self.before.as_ref();
        let list = |ticked: &[String], typed: &[Field], check: Check, before: Option<&Vec<String>>| {
            let typed = typed.iter().map(|field| field.text().trim());
            let typed = typed.filter(|text| !text.is_empty() && check(text).is_ok());
            let mut list: Vec<String> = Vec::new();
            for text in ticked.iter().map(String::as_str).chain(typed) {
                if !list.iter().any(|other| other == text) {
                    list.push(text.to_owned());
                }
            }
            // What was there stays where it stood.
            let place = |text: &String| before?.iter().position(|other| other == text);
            list.sort_by_key(|text| place(text).unwrap_or(usize::MAX));
            list
        };
        let icon = self.icon.text().trim();
        OwnApp {
            name: self.called().to_owned(),
            units: list(&self.units, &self.unit_patterns, settings::pattern, before.map(|app| &app.units)),
            cgroups: list(&[], &self.cgroups, settings::cgroup, before.map(|app| &app.cgroups)),
            apps: list(&self.apps, &[], |_| Ok(()), before.map(|app| &app.apps)),
            containers: list(
                &self.containers,
                &self.container_patterns,
                settings::pattern,
                before.map(|app| &app.containers),
            ),
            colour: self.colour,
            icon: (!icon.is_empty()).then(|| icon.to_owned()),
        }
    }

    /// Whether anything would be lost.
    pub fn is_changed(&self, at_first: &OwnApp) -> bool {
        let typed = [&self.unit_patterns, &self.container_patterns, &self.cgroups];
        let is_wrong = |field: &&Field| pattern(field.text().trim()).is_err();
        self.app() != *at_first || typed.into_iter().flatten().any(|field| is_wrong(&field))
    }

    /// What is wrong with the name, as a sentence. `apps`: all there are.
    pub fn name_wrong(&self, settings: &Settings, apps: &[AppReading]) -> Option<String> {
        let name = self.called();
        if name.is_empty() {
            return Some("Enter a name for the app.".to_owned());
        }
        if let Err(reason) = settings::own_name(name) {
            return Some(format::sentence(&reason));
        }
        let before = self.before.as_ref().map(|app| app.name.as_str());
        let mut others = settings.own_apps().into_iter().filter(|app| Some(app.name.as_str()) != before);
        if let Some(other) = others.find(|app| app.name.to_lowercase() == name.to_lowercase()) {
            return Some(format!("You already have an app called “{}”. Choose another name.", printable(&other.name)));
        }
        // Both would have the same id, and one row. So it has to be included as well, for a person to see it.
        let mut others = apps.iter().filter(|app| app.kind != Kind::Own && app.id == name);
        let target = Target::own(&OwnApp { name: String::new(), ..self.app() });
        let is_other = |app: &AppReading| app.cgroups.iter().any(|path| target.unit_of(path).is_none());
        let other = others.find(|app| is_other(app))?;
        Some(format!(
            "“{}” is the id of another application. Choose another name, or include that application.",
            other.id
        ))
    }

    /// What a person may want to know of the name.
    pub fn name_note(&self, apps: &[AppReading]) -> Option<String> {
        let name = self.called().to_lowercase();
        let other = apps.iter().find(|app| app.kind != Kind::Own && app.name.to_lowercase() == name)?;
        let is_included = self.apps.contains(&other.id);
        (!is_included).then(|| format!("Another application is called “{}” as well.", other.name))
    }

    /// What keeps it from being saved, as a sentence.
    pub fn wrong(&self, settings: &Settings, apps: &[AppReading]) -> Option<String> {
        let typed = self.unit_patterns.iter().chain(&self.container_patterns).map(|field| pattern(field.text().trim()));
        let typed = typed.chain(self.cgroups.iter().map(|field| cgroup(field.text().trim())));
        self.name_wrong(settings, apps)
            .or_else(|| typed.filter_map(Result::err).next())
            .or_else(|| self.app().is_empty().then(|| "Tick what belongs to the app, or add a pattern.".to_owned()))
    }

    /// Lets all that is wrong be said.
    pub fn finish(&mut self) {
        let typed = [&mut self.unit_patterns, &mut self.container_patterns, &mut self.cgroups];
        typed.into_iter().flatten().chain([&mut self.name]).for_each(Field::finish);
    }

    /// What a pattern for units stands for.
    pub fn units_matched(&self, pattern: &str, apps: &[AppReading]) -> Matches {
        let wanted = OwnApp { units: vec![pattern.trim().to_owned()], ..OwnApp::default() };
        Matches::of(wanted, self.name_before(), apps)
    }

    /// What a pattern for containers stands for.
    pub fn containers_matched(&self, pattern: &str, apps: &[AppReading]) -> Matches {
        let wanted = OwnApp { containers: vec![pattern.trim().to_owned()], ..OwnApp::default() };
        Matches::of(wanted, self.name_before(), apps)
    }

    /// What is at and below a path.
    pub fn cgroup_matched(&self, path: &str, apps: &[AppReading]) -> Matches {
        let wanted = OwnApp { cgroups: vec![path.trim().to_owned()], ..OwnApp::default() };
        Matches::of(wanted, self.name_before(), apps)
    }

    fn name_before(&self) -> &str {
        self.before.as_ref().map_or("", |app| app.name.as_str())
    }

    /// What is included by what is typed alone.
    pub fn typed(&self) -> Target {
        Target::own(&OwnApp {
            apps: Vec::new(),
            ..Self { units: Vec::new(), containers: Vec::new(), ..self.clone() }.app()
        })
    }

    /// What the app will be, in a sentence.
    pub fn summary(&self, settings: &Settings, apps: &[AppReading], parts: &Parts<'_>) -> String {
        let app = self.app();
        if app.is_empty() {
            return "This app does not include anything yet. Tick what belongs to it.".to_owned();
        }
        let id = if app.name.is_empty() { "\0".to_owned() } else { app.name.clone() };
        let defined = Apps::new(&put(settings, self.before.as_ref(), OwnApp { name: id.clone(), ..app }));
        let is_included = |path: &&str| defined.id_of(path).as_ref() == Some(&id);
        let all = parts.apps.iter().chain(&parts.containers);
        let names = all.filter(|part| part.paths().any(|path| is_included(&path))).map(|part| part.name.clone());
        let mut names: Vec<_> = names.collect();
        let count = apps.iter().flat_map(|app| &app.cgroups).filter(|path| is_included(&path.as_str())).count();
        let ended = self.apps.iter().filter(|id| !parts.apps.iter().any(|part| part.key == **id));
        names.extend(ended.map(|id| printable(id).into_owned()));
        let running = match count {
            0 => "Nothing of it runs now.".to_owned(),
            1 => "1 unit of it runs now.".to_owned(),
            count => format!("{count} units of it run now."),
        };
        if names.is_empty() {
            return format!("This app will include what its patterns match. {running}");
        }
        format!("This app will include {}. {running}", listed(&names, 2 * SHOWN))
    }
}

type Check = fn(&str) -> Result<(), String>;

/// What is wrong with a pattern, as a sentence. Where nothing is typed, nothing is.
pub fn pattern(text: &str) -> Result<(), String> {
    checked(text, settings::pattern)
}

/// What is wrong with a path, as a sentence.
pub fn cgroup(text: &str) -> Result<(), String> {
    checked(text, settings::cgroup)
}

fn checked(text: &str, check: Check) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { check(text).map_err(|reason| format::sentence(&reason)) }
}

/// The settings with this app in the place of the one that was changed. What is as it is built in needs no entry.
pub fn put(settings: &Settings, before: Option<&OwnApp>, app: OwnApp) -> Settings {
    let mut settings = settings.clone();
    let name = app.name.clone();
    let before = before.map(|before| before.name.as_str());
    let place = |name: &str| settings.apps.iter().position(|other| other.name == name);
    // An entry that takes a built-in app of this name away goes.
    let at = before.and_then(place).or_else(|| place(&name));
    let is_built_in = OwnApp::built_in().contains(&app);
    match at.and_then(|at| settings.apps.get_mut(at)) {
        Some(other) => *other = app,
        None => settings.apps.push(app),
    }
    if is_built_in {
        settings.apps.retain(|other| other.name != name);
    }
    if let Some(before) = before.filter(|before| *before != name) {
        for budget in settings.budgets.iter_mut().filter(|budget| budget.app.as_deref() == Some(before)) {
            budget.app = Some(name.clone());
        }
        hide_built_in(&mut settings, before);
    }
    settings
}

/// The settings without this app.
pub fn without(settings: &Settings, name: &str) -> Settings {
    let mut settings = settings.clone();
    settings.apps.retain(|app| app.name != name);
    hide_built_in(&mut settings, name);
    settings
}

/// A built-in app goes by an entry that names nothing.
fn hide_built_in(settings: &mut Settings, name: &str) {
    let nothing = OwnApp { name: name.to_owned(), ..OwnApp::default() };
    if nothing.is_built_in() && !settings.apps.iter().any(|app| app.name == name) {
        settings.apps.push(nothing);
    }
}

#[cfg(test)]
mod tests;
