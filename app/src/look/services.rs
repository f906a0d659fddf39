//! System services: the units of the system's systemd that are no user's. Pure: it looks at paths only.
//!
//! They are no apps: nothing of them is recorded, and "All applications" is without them.

use super::{
    forwarded,
    target::{UnitOf, units},
};

/// What the id of a system service begins with. The rest is its unit's name, which no other system unit has.
const PREFIX: &str = "system:";

/// The system service to which a cgroup belongs: the first unit in its path that is no slice, unless a user's slice comes first.
/// `None`: it is no system service's.
pub fn service_of(path: &str) -> Option<UnitOf<'_>> {
    let mut units = units(path).take_while(|unit| unit.cgroup != "/user.slice" && !forwarded::is_in(unit.cgroup));
    units.find(|unit| !unit.unit.ends_with(".slice"))
}

/// The id of the service with this unit.
pub fn id(unit: &str) -> String {
    format!("{PREFIX}{unit}")
}

/// The unit of the service with this id; `None`: it is no service's.
pub fn unit_of_id(id: &str) -> Option<&str> {
    id.strip_prefix(PREFIX).filter(|unit| !unit.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::target::Target;

    #[test]
    fn a_system_service_is_the_first_unit_that_is_no_slice() {
        let check = |path: &str, expected: Option<(&str, &str)>| {
            assert_eq!(service_of(path).map(|unit| (unit.unit, unit.cgroup)), expected, "{path}");
        };
        check("/system.slice/ssh.service", Some(("ssh.service", "/system.slice/ssh.service")));
        check("/system.slice/ssh.service/inner", Some(("ssh.service", "/system.slice/ssh.service")));
        let getty = "/system.slice/system-getty.slice/getty@tty1.service";
        check(getty, Some(("getty@tty1.service", getty)));
        check("/init.scope", Some(("init.scope", "/init.scope")));
        check("/machine.slice/c.scope/system.slice/ssh.service", Some(("c.scope", "/machine.slice/c.scope")));
        check("/system.slice", None);
        check("/user.slice/user-1000.slice/user@1000.service/app.slice/a.service", None);
        check("/user.slice/user-1000.slice/session-1.scope", None);
        check("/docker/0123", None);
        check("/forwarded/docker/web/10.0.0.2", None);
        check("/", None);
    }

    #[test]
    fn its_id_names_it_and_nothing_else() {
        let target = Target::app(&id("ssh.service"), "OpenSSH");
        let matches = |path: &str| target.unit_of(path).map(|unit| unit.cgroup.to_owned());
        assert_eq!(matches("/system.slice/ssh.service/x").as_deref(), Some("/system.slice/ssh.service"));
        assert_eq!(matches("/system.slice/sshd.service"), None);
        assert_eq!(matches("/user.slice/user-1000.slice/user@1000.service/app.slice/ssh.service"), None);
        assert_eq!(unit_of_id("system:ssh.service"), Some("ssh.service"));
        assert_eq!((unit_of_id("ssh.service"), unit_of_id("system:")), (None, None));
    }
}
