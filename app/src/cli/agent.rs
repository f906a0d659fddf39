//! polkit's own agent for a terminal, for whoever works at one without a desktop. It asks no question itself.

use std::{
    io::{self, IsTerminal as _, Read as _},
    process::{Child, Command, Stdio},
};

/// Asks for the password in this terminal, for this process and for what it starts with pkexec. Only where no other agent
/// would (pkttyagent(1)); pkexec's own one gets no answer through to polkit 122. It ends when dropped.
pub struct Agent(Option<Child>);

impl Agent {
    /// Nothing where there is no terminal, no need, or no such program: then polkit says no by itself.
    pub fn start() -> Self {
        let wanted = io::stdin().is_terminal() && !rustix::process::getuid().is_root();
        Self(wanted.then(start).flatten())
    }
}

fn start() -> Option<Child> {
    let mut command = Command::new("pkttyagent");
    // Without --process it answers for its parent, this process.
    let mut agent = command.args(["--fallback", "--notify-fd=1"]).stdout(Stdio::piped()).spawn().ok()?;
    // It closes its end when it has registered.
    agent.stdout.take()?.read_to_end(&mut Vec::new()).ok()?;
    Some(agent)
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.0 {
            // It puts the terminal back as it was when it is told to end.
            _ = rustix::process::kill_process(rustix::process::Pid::from_child(agent), rustix::process::Signal::TERM);
            _ = agent.wait();
        }
    }
}
