//! What runs now and can be ticked: apps with their units, projects with their containers. Pure.

use std::{collections::BTreeMap, path::Path};

use glob::Pattern;
use netglance_dbus::text::printable;

use crate::look::{
    forwarded::Forwarded,
    names,
    reading::{AppReading, Kind},
    target::{app_of, lasting},
};

/// An app, a project or a container that can be ticked.
#[derive(Clone, Debug, PartialEq)]
pub struct Part<'a> {
    /// What is written when it is ticked: an app's id, or a pattern.
    pub key: String,
    /// What a person reads.
    pub name: String,
    /// The app in the list that it is; `None`: it is a part of one.
    pub app: Option<&'a AppReading>,
    /// The icon's file.
    pub icon: Option<&'a Path>,
    /// Its units, or its containers; empty if it is one.
    pub units: Vec<PartUnit>,
    /// All of it belongs to this app of one's own.
    pub taken: Option<String>,
}

/// A unit or a container that can be ticked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartUnit {
    /// What is written when it is ticked: a pattern.
    pub key: String,
    /// What a person reads.
    pub name: String,
    /// The id of the app in the list to which it belongs.
    pub app: String,
    /// Where it runs now.
    pub paths: Vec<String>,
    /// It belongs to this app of one's own.
    pub taken: Option<String>,
}

/// Everything that runs now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts<'a> {
    /// Apps with their units, by name.
    pub apps: Vec<Part<'a>>,
    /// Projects with their containers, single containers and virtual machines, by name.
    pub containers: Vec<Part<'a>>,
}

/// A pattern that stands for this text alone, and for what `*` in it stands for: that is different at each start.
fn pattern_of(text: &str) -> String {
    text.split('*').map(Pattern::escape).collect::<Vec<_>>().join("*")
}

impl<'a> Parts<'a> {
    /// Those of all apps there are; `name` is the app that is changed, to which no part is lost.
    pub fn of(apps: &'a [AppReading], name: Option<&str>) -> Self {
        let (mut ids, mut forwarded) = (BTreeMap::<String, Part<'a>>::new(), BTreeMap::<String, Part<'a>>::new());
        for app in apps {
            let taken = (app.kind == Kind::Own && Some(app.id.as_str()) != name).then(|| app.id.clone());
            for path in &app.cgroups {
                if let Some(found) = Forwarded::of(path) {
                    let key = pattern_of(found.name);
                    let (part, called) = match found.project.filter(|_| found.engine != "bridge") {
                        Some(project) => (pattern_of(project), format!("Project {}", printable(project))),
                        None => (key.clone(), printable(found.name).into_owned()),
                    };
                    let part = forwarded.entry(part.clone()).or_insert_with(|| Part::new(part, called));
                    part.add(&key, &printable(found.name), (&app.id, path), taken.as_ref());
                } else if let Some(found) = app_of(path) {
                    let unit = lasting(&found.id, found.unit).unit;
                    let part = ids.entry(found.id.clone()).or_insert_with(|| {
                        Part::new(found.id.clone(), printable(&names::plain(&found.id)).into_owned())
                    });
                    if app.kind != Kind::Own {
                        (part.app, part.name, part.icon) = (Some(app), app.name.clone(), app.icon.as_deref());
                    } else if let Some(named) = app.parts.iter().find(|named| named.id == found.id) {
                        (part.name, part.icon) = (named.name.clone(), named.icon.as_deref());
                    }
                    part.add(&pattern_of(&unit), &printable(&unit), (&app.id, path), taken.as_ref());
                }
            }
        }
        let sorted = |parts: BTreeMap<String, Part<'a>>| {
            let mut parts: Vec<_> = parts.into_values().map(Part::whole).collect();
            parts.sort_by_cached_key(|part| part.name.to_lowercase());
            parts
        };
        Self { apps: sorted(ids), containers: sorted(forwarded) }
    }
}

impl Part<'_> {
    fn new(key: String, name: String) -> Self {
        Self { key, name, app: None, icon: None, units: Vec::new(), taken: None }
    }

    fn add(&mut self, key: &str, name: &str, (app, path): (&str, &str), taken: Option<&String>) {
        match self.units.iter_mut().find(|unit| unit.key == key) {
            Some(unit) => {
                unit.paths.push(path.to_owned());
                unit.taken = unit.taken.take().filter(|before| Some(before) == taken);
            }
            None => self.units.push(PartUnit {
                key: key.to_owned(),
                name: name.to_owned(),
                app: app.to_owned(),
                paths: vec![path.to_owned()],
                taken: taken.cloned(),
            }),
        }
    }

    fn whole(mut self) -> Self {
        let first = self.units.first().and_then(|unit| unit.taken.clone());
        self.taken = first.filter(|taken| self.units.iter().all(|unit| unit.taken.as_ref() == Some(taken)));
        self
    }

    /// Where it runs now.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.units.iter().flat_map(|unit| &unit.paths).map(String::as_str)
    }
}
