//! Who may take a route: its section `auth`. Pure.

use mcp_proto::{
    Code, Error,
    gateway::v1::{Auth, AuthMode},
};

use super::violations::Violations;
use crate::security::{
    authorize::ROLE,
    principal::{Grant, Principal},
};

/// Path of the section.
const AT: &str = "settings.auth";
/// Most roles of one route.
const ROLES_MAX: usize = 16;

/// Who may take a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Access {
    /// True: everybody may, known or not.
    pub(crate) is_public: bool,
    /// One of these is needed; none: whoever is known.
    roles: Vec<Grant>,
}

impl Access {
    /// Lets a caller take the route, or not.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` with a role that would do.
    pub(crate) fn check(&self, principal: Option<&Principal>) -> Result<(), Error> {
        let Some(first) = self.roles.first() else {
            return Ok(());
        };
        let mut held = principal.iter().flat_map(|principal| principal.grants.iter());
        if held.any(|grant| self.roles.iter().any(|needed| grant.covers(needed))) {
            return Ok(());
        }
        let text = format!("this route needs the role {first}");
        Err(Error::new(Code::PermissionDenied, text).with_metadata(ROLE, first.role.name()))
    }
}

/// Compiles the section.
pub(super) fn compile(section: Option<&Auth>, wrong: &mut Violations) -> Access {
    let Some(section) = section else {
        return Access::default();
    };
    let mode = AuthMode::try_from(section.mode);
    wrong.check(mode.is_ok(), &format!("{AT}.mode"), "is not one of the choices");
    let is_public = mode == Ok(AuthMode::None);
    wrong.at_most(section.roles.len(), ROLES_MAX, &format!("{AT}.roles"));
    let excluded = is_public && !section.roles.is_empty();
    wrong.check(!excluded, &format!("{AT}.roles"), "excludes the mode `none`: a role is somebody's");
    let mut roles = Vec::new();
    for (index, role) in section.roles.iter().take(ROLES_MAX).enumerate() {
        roles.extend(wrong.take(&format!("{AT}.roles[{index}]"), role.parse()));
    }
    Access { is_public, roles }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::principal::{Grants, Proof};

    fn access(mode: AuthMode, roles: &[&str]) -> Result<Access, Error> {
        let mut wrong = Violations::default();
        let roles = roles.iter().map(|&role| role.to_owned()).collect();
        let access = compile(Some(&Auth { mode: mode.into(), roles }), &mut wrong);
        wrong.into_result().map(|()| access)
    }

    #[test]
    fn a_route_may_ask_for_one_of_some_roles() {
        let access = access(AuthMode::Unspecified, &["admin", "operator@builds"]).unwrap();
        for (roles, expected) in [
            (&["admin"][..], true),
            (&["operator"], true),
            (&["admin@builds"], true),
            (&["operator@other", "viewer"], false),
            (&[], false),
        ] {
            let grants = Grants::new(roles.iter().map(|role| role.parse().unwrap())).unwrap();
            let principal = Principal { name: "x".into(), proof: Proof::ApiKey, grants };
            assert_eq!(access.check(Some(&principal)).is_ok(), expected, "{roles:?}");
        }
        assert_eq!(access.check(None).unwrap_err().metadata()[ROLE], "admin");
        assert_eq!(Access::default().check(None), Ok(()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(access(AuthMode::None, &[]).unwrap().is_public);
        assert!(!access(AuthMode::Required, &[]).unwrap().is_public);
        let field = |error: Error| error.violations()[0].field.clone();
        assert_eq!(field(access(AuthMode::None, &["viewer"]).unwrap_err()), "settings.auth.roles");
        assert_eq!(field(access(AuthMode::Required, &["viewer", "boss"]).unwrap_err()), "settings.auth.roles[1]");
        assert_eq!(field(access(AuthMode::Required, &["viewer"; 17]).unwrap_err()), "settings.auth.roles");
    }
}
