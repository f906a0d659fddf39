//! What the Connections page gets: the remotes of what is shown, each told once and again when something about it is different.
//! While the page is closed, nobody is asked for remotes.

use std::{mem, time::Duration};

use netglance_dbus::error::chain;

use crate::{
    look::{monitor::Monitor, remotes::Changes, sampler::Source},
    show::update::Connections,
};

/// What is known of the page.
#[derive(Debug, Default)]
pub struct Page {
    is_open: bool,
    /// It is looked before the beat is due.
    is_due: bool,
    /// The window doesn't have what it was told before.
    is_whole: bool,
    failure: Option<String>,
}

impl Page {
    /// The page was opened or closed.
    pub fn open(&mut self, is_open: bool) {
        *self = Self { is_open, is_due: true, is_whole: true, failure: None };
    }

    /// Something else is watched now.
    pub fn choose(&mut self, monitor: Option<&mut Monitor>) {
        if let Some(monitor) = monitor.filter(|_| self.is_open) {
            monitor.forget_remotes();
        }
        self.open(self.is_open);
    }

    /// The window has missed an update.
    pub fn miss(&mut self) {
        self.is_whole = true;
    }

    /// Whether a look is due that hasn't been taken.
    pub fn is_due(&self) -> bool {
        self.is_due
    }

    /// Looks at the remotes if the page is open in a window. `is_paused`: nobody looks.
    pub async fn look(&mut self, monitor: Option<&mut Monitor>, beat: Duration, is_shown: bool, is_paused: bool) {
        self.is_due = false;
        let Some(monitor) = monitor else { return };
        if !(self.is_open && is_shown) {
            monitor.forget_remotes();
        } else if !is_paused {
            self.failure = monitor.look_at_remotes(beat).await.err().map(|error| chain(&error));
        }
    }

    /// What the window is told; `None`: the page is closed.
    pub fn tell(&mut self, monitor: Option<&mut Monitor>, is_paused: bool) -> Option<Connections> {
        if !self.is_open {
            return None;
        }
        let is_whole = mem::take(&mut self.is_whole);
        let mut told = Connections {
            source: Source::Estimate,
            boottime_ns: 0,
            is_whole,
            remotes: Vec::new(),
            figures: Vec::new(),
            gone: Vec::new(),
            is_complete: true,
            others: None,
            failure: self.failure.clone(),
        };
        let Some(monitor) = monitor else { return Some(told) };
        let Changes { remotes, figures, gone } = monitor.remote_changes(is_whole);
        (told.remotes, told.figures, told.gone) = (remotes, figures, gone);
        let latest = monitor.latest().map(|look| (look.source, look.sample.boottime_ns));
        (told.source, told.boottime_ns) = latest.unwrap_or((told.source, told.boottime_ns));
        match monitor.remotes().and_then(|table| Some((table, table.source()?))) {
            Some((table, source)) => {
                let boottime_ns = table.boottime_ns();
                let (is_complete, others) = (table.is_complete(), table.others());
                told = Connections { source, boottime_ns, is_complete, others, ..told };
            }
            None if is_paused => {
                told.failure = Some("paused: resume to see who the applications are talking to".to_owned());
            }
            None => {}
        }
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_millis(100);

    /// What the window is told after a look: whether that is everything, whether anything is known, and what went wrong.
    async fn told(page: &mut Page, monitor: &mut Monitor, is_paused: bool) -> Option<(bool, bool, Option<String>)> {
        page.look(Some(monitor), BEAT, true, is_paused).await;
        let told = page.tell(Some(monitor), is_paused)?;
        Some((told.is_whole, monitor.remotes().is_some(), told.failure))
    }

    #[tokio::test]
    async fn everything_is_told_once_and_nobody_is_asked_while_it_is_closed() {
        let mut monitor = Monitor::open(Some(Source::Estimate)).await.unwrap();
        let (mut page, monitor) = (Page::default(), &mut monitor);
        assert_eq!(told(&mut page, monitor, false).await, None);
        assert!(monitor.remotes().is_none());
        page.open(true);
        assert!(page.is_due());
        assert_eq!(told(&mut page, monitor, false).await, Some((true, true, None)));
        assert_eq!(told(&mut page, monitor, false).await, Some((false, true, None)));
        page.miss();
        assert_eq!(told(&mut page, monitor, false).await, Some((true, true, None)));
        // While it is paused, the last figures stay, but those of other apps are not known.
        assert_eq!(told(&mut page, monitor, true).await, Some((false, true, None)));
        page.choose(Some(monitor));
        let (is_whole, is_known, failure) = told(&mut page, monitor, true).await.unwrap();
        assert!(is_whole && !is_known && failure.unwrap().starts_with("paused"));
        assert_eq!(told(&mut page, monitor, false).await, Some((false, true, None)));
        // A window that is hidden asks for nothing.
        page.look(Some(monitor), BEAT, false, false).await;
        assert!(monitor.remotes().is_none());
        page.open(false);
        assert_eq!(told(&mut page, monitor, false).await, None);
    }
}
