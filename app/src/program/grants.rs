//! What a person is told about a grant: what came of the question, in one quiet line. It asks nothing itself; that is done on the
//! connection that reads (`look/sampler/grants.rs`).

use crate::{
    base::format,
    look::sampler::grants::{Grant, Grants, Permission},
};

/// What is new since `before`, if a person should hear of it.
pub fn news(before: &Grants, now: &Grants) -> Option<String> {
    [Grant::SystemServices, Grant::Forwarded].into_iter().find_map(|grant| {
        let what = match grant {
            Grant::SystemServices => "System services are shown as an estimate",
            Grant::Forwarded => "Containers and virtual machines are not counted",
        };
        match (before.of(grant), now.of(grant)) {
            (before, now) if before == now => None,
            (_, Permission::Refused(why)) => Some(format!("{what}. {}", format::sentence(why))),
            (Permission::Granted, Permission::NotAsked) => {
                Some(format!("{what} until an administrator’s password is given again."))
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_hears_what_came_of_a_question_once() {
        use Permission::{Asking, Granted, NotAsked, Refused};
        let no = || Refused("the password dialog was closed. Nothing was changed.".into());
        let check = |before: Permission, now: Permission, expected: Option<&str>| {
            let grants = |system_services| Grants { system_services, ..Grants::default() };
            assert_eq!(news(&grants(before), &grants(now)).as_deref(), expected);
        };
        check(NotAsked, Asking, None);
        check(Asking, Granted, None);
        let told = "System services are shown as an estimate. The password dialog was closed. Nothing was changed.";
        check(Asking, no(), Some(told));
        check(no(), no(), None);
        let lost = "System services are shown as an estimate until an administrator’s password is given again.";
        check(Granted, NotAsked, Some(lost));
    }
}
