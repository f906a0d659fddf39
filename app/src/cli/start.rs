//! `netglance start --app ID -- CMD`: moves itself into a cgroup of the app's own and becomes the command. No process of
//! netglance remains.

use std::{ffi::OsString, process::ExitCode, time::Duration};

use netglance_dbus::error::chain;
use rustix::process::{Pid, getpid};

use super::{
    Error, block_on,
    run::{become_program, scope::Scope},
};
use crate::base::say::say;

/// A systemd that takes longer is not waited for: a person waits for the program.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where desktops put apps (systemd.io/DESKTOP_ENVIRONMENTS).
const SLICE: &str = "app.slice";
/// Bytes of a unit's name, which systemd limits to 255.
const LONGEST: usize = 200;

/// Starts the command as an app of its own, or at least starts it.
pub fn start(app: &str, command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else { return ExitCode::FAILURE };
    if let Err(why) = move_into(app) {
        say(format_args!("{} is not counted on its own: {why}", super::printable(app)));
    }
    become_program(program, arguments)
}

fn move_into(app: &str) -> Result<(), String> {
    let pid = getpid();
    let scope = Scope { name: unit_name(app, pid), description: app, slice: Some(SLICE) };
    let moved = block_on(async {
        Ok::<_, Error>(match tokio::time::timeout(PATIENCE, scope.take_in(pid)).await {
            Ok(outcome) => outcome.map_err(|error| chain(&error)),
            Err(_) => Err("it did not answer".to_owned()),
        })
    });
    let moved = moved.map_err(|error| chain(&error))?;
    moved.map_err(|why| format!("the user's systemd cannot create a scope ({why})"))
}

/// The scope's name as desktops call them, so that [`crate::look::target::app_of`] finds the app in it.
fn unit_name(app: &str, pid: Pid) -> String {
    let mut name = String::from("app-netglance-");
    for (at, byte) in app.bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if at > 0 => name.push('.'),
            _ if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':' => name.push(char::from(byte)),
            _ => name += &format!("\\x{byte:02x}"),
        }
        if name.len() > LONGEST {
            break;
        }
    }
    format!("{name}-{pid}.scope")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::target::app_of;

    #[test]
    fn the_scope_is_named_so_that_the_app_is_found_in_it() {
        let pid = Pid::from_raw(4711).unwrap();
        for id in ["org.mozilla.firefox", "firefox-esr", "kde4-my tool", ".hidden", "Ä@1", "a_b:c"] {
            let unit = unit_name(id, pid);
            assert!(unit.ends_with("-4711.scope") && unit.starts_with("app-netglance-"), "{unit}");
            let path = format!("/user.slice/user-1000.slice/user@1000.service/app.slice/{unit}");
            assert_eq!(app_of(&path).unwrap().id, id, "{unit}");
        }
        assert!(unit_name(&"long-".repeat(100), pid).len() < 256);
    }
}
