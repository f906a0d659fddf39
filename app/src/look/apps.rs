//! Which app a cgroup belongs to: one that a person has defined, or the one that its unit's name says. Pure.

use std::collections::BTreeMap;

use super::target::{self, Target, Unit, UnitOf};
use crate::base::settings::{OwnApp, Settings};

/// Every app that a person has defined, the built-in ones among them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Apps {
    own: Vec<Own>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Own {
    /// As the settings have it.
    pub app: OwnApp,
    /// What belongs to it.
    pub target: Target,
}

impl Apps {
    /// Those of these settings.
    pub fn new(settings: &Settings) -> Self {
        let own = settings.own_apps().into_iter().map(|app| Own { target: Target::own(&app), app });
        Self { own: own.collect() }
    }

    /// All of them. A cgroup that several name belongs to the first.
    pub fn own(&self) -> &[Own] {
        &self.own
    }

    /// The built-in app that comes first where nobody has chosen any, if `exists` says that it is there.
    pub fn preset(&self, exists: impl Fn(&Target) -> bool) -> Option<&Own> {
        self.own.iter().find(|own| own.app.is_built_in() && exists(&own.target))
    }

    /// The one with this id, which is its name.
    pub fn find(&self, id: &str) -> Option<&Own> {
        self.own.iter().find(|own| own.app.name == id)
    }

    /// The id of the app to which a cgroup belongs. `None`: no app's.
    pub fn id_of(&self, path: &str) -> Option<String> {
        match self.own.iter().find(|own| own.target.unit_of(path).is_some()) {
            Some(own) => Some(own.app.name.clone()),
            None => target::app_of(path).map(|app| app.id),
        }
    }

    /// The unit to which a cgroup belongs, as it is recorded: with the id of its own app, whatever a person says it is a part of now.
    /// `None`: it is no app's.
    pub fn lasting_unit(&self, path: &str) -> Option<Unit> {
        if let Some(app) = target::app_of(path) {
            return Some(target::lasting(&app.id, app.unit));
        }
        let (id, unit): (_, UnitOf<'_>) =
            self.own.iter().find_map(|own| Some((own.app.name.as_str(), own.target.unit_of(path)?)))?;
        Some(target::lasting(id, unit))
    }

    /// The app that a person has defined to which a recorded cgroup belongs now: its id, which is its name. `None`: none.
    pub fn recorded(&self, cgroup: &str) -> Option<&String> {
        self.own.iter().find(|own| own.target.unit_of(cgroup).is_some()).map(|own| &own.app.name)
    }

    /// The app with this id, without what belongs to others; `name` is what a person reads.
    pub fn target(&self, id: &str, name: &str) -> Target {
        let at = self.own.iter().position(|own| own.app.name == id);
        let target = at.and_then(|at| self.own.get(at)).map_or_else(|| Target::app(id, name), |own| own.target.clone());
        self.own.iter().take(at.unwrap_or(usize::MAX)).fold(target, |target, own| target.without(&own.target))
    }

    /// The ids by which these apps go now. Earlier versions gave a unit's name as the id where [`target::app_of`] gives what its kind
    /// have in common, and what belonged to an app may have been defined as a part of another one since. `running`: all apps by id,
    /// with their cgroups. An id that names none of them stays as it is.
    pub fn ids_now(&self, ids: &[String], running: &BTreeMap<String, Vec<String>>) -> Vec<String> {
        let mut now: Vec<String> = Vec::new();
        for id in ids {
            let target = self.find(id).map_or_else(|| Target::app(id, id), |own| own.target.clone());
            let is_named = |cgroups: &Vec<String>| cgroups.iter().any(|path| target.unit_of(path).is_some());
            let other = || running.iter().find(|(_, cgroups)| is_named(cgroups)).map(|(id, _)| id);
            let id = if running.contains_key(id) || self.find(id).is_some() { id } else { other().unwrap_or(id) };
            if !now.contains(id) {
                now.push(id.clone());
            }
        }
        now
    }
}
