//! The programs that share an app's cgroup. Nothing of this costs anything while nobody asks.

use std::{collections::HashMap, env, path::Path};

use super::{Error, Monitor};
use crate::look::{
    programs::{App, ByProgram, Chosen, Programs},
    rate::Bytes,
};

impl Monitor {
    /// Looks at the programs of the caller's apps. To be called after [`Self::look`]; it goes on until [`Self::forget_programs`].
    pub fn look_at_programs(&mut self, chosen: &Chosen) -> Result<(), Error> {
        let mut programs = self.programs.take().unwrap_or_default();
        let outcome = self.take_programs(&mut programs, chosen);
        self.programs = Some(programs);
        outcome
    }

    /// Nobody asks for programs any more.
    pub fn forget_programs(&mut self) {
        if self.programs.take().is_some() {
            self.sampler.forget_sockets();
        }
    }

    /// There are other desktop entries now.
    pub fn forget_entries(&mut self) {
        self.desktop.forget();
        if let Some(programs) = &mut self.programs {
            programs.forget_entries();
        }
    }

    /// The apps that have more than one program, as of the latest [`Self::look_at_programs`]; none where there was none.
    pub fn by_program(&mut self) -> Vec<ByProgram> {
        let secs = self.beat.as_ref().and_then(|beat| beat.secs.clone().ok());
        let Some(programs) = &self.programs else { return Vec::new() };
        programs.by_program(&mut self.desktop, secs, has_user_manager())
    }

    fn take_programs(&mut self, programs: &mut Programs, chosen: &Chosen) -> Result<(), Error> {
        self.find_running();
        let mut moved: HashMap<&str, (Bytes, Bytes)> = HashMap::new();
        for account in self.moved.values() {
            if let Some(id) = account.app.as_deref() {
                let (total, latest) = moved.entry(id).or_default();
                *total = total.plus(account.moved.total);
                *latest = latest.plus(account.moved.latest);
            }
        }
        let running = self.running.iter().flat_map(|running| &running.apps);
        let wanted = running.filter(|(id, _)| chosen.apps.is_empty() || chosen.apps.contains(id));
        let apps: Vec<_> = wanted
            .map(|(id, cgroups)| {
                let (total, latest) = moved.get(id.as_str()).copied().unwrap_or_default();
                App { id, cgroups, total: [total.rx, total.tx], latest: [latest.rx, latest.tx] }
            })
            .collect();
        let needs_sockets = programs.look(&apps, chosen, |cgroup| self.tree.directory(cgroup));
        if !needs_sockets {
            self.sampler.forget_sockets();
            return Ok(());
        }
        let sockets = self.sampler.estimated_sockets(&self.tree, &self.prefixes)?;
        let apps = &self.defined;
        programs.take(&sockets, |path| apps.id_of(path));
        Ok(())
    }
}

/// Whether there is a systemd of the user's that could make a cgroup.
fn has_user_manager() -> bool {
    env::var_os("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(&folder).join("systemd/private").exists())
}
