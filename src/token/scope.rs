//! The settings that a token is bound to.

use crate::cookie::CookieSettings;

/// What a token is bound to, besides the session. A token of one scope is refused in every other one.
///
/// These settings say which cookie the token belongs to, and who may have seen it. A browser keeps a partitioned cookie
/// beside one that is not partitioned, so only one of the two may be valid. A token that was sent over plain http is
/// not valid for https. `HttpOnly`, `SameSite` and `Max-Age` are not part of the scope: if only these differ, the
/// browser replaces the cookie.
pub(crate) struct Scope<'a> {
    pub(super) namespace: &'a str,
    pub(super) transport: &'a str,
    pub(super) cookie_name: &'a str,
    pub(super) path: &'a str,
    pub(super) domain: &'a str,
    pub(super) secure: bool,
    pub(super) partitioned: bool,
}

impl<'a> Scope<'a> {
    pub(crate) fn of_cookies(namespace: &'a str, cookie: &'a CookieSettings) -> Scope<'a> {
        Scope {
            namespace,
            transport: "cookie",
            cookie_name: &cookie.name,
            path: &cookie.path,
            domain: cookie.domain.as_deref().unwrap_or_default(),
            secure: cookie.secure,
            partitioned: cookie.partitioned,
        }
    }

    pub(crate) fn of_bearer_tokens(namespace: &'a str) -> Scope<'a> {
        Scope {
            namespace,
            transport: "token",
            cookie_name: "",
            path: "",
            domain: "",
            secure: false,
            partitioned: false,
        }
    }

    /// Returns the parts in a fixed order. Two different scopes have different parts.
    pub(super) fn parts(&self) -> [&[u8]; 7] {
        let flag = |set: bool| if set { &[1][..] } else { &[0] };
        [
            self.namespace.as_bytes(),
            self.transport.as_bytes(),
            self.cookie_name.as_bytes(),
            self.path.as_bytes(),
            self.domain.as_bytes(),
            flag(self.secure),
            flag(self.partitioned),
        ]
    }
}

#[cfg(test)]
impl Scope<'static> {
    pub(super) const EXAMPLE: Scope<'static> = Scope {
        namespace: "mps",
        transport: "cookie",
        cookie_name: "__Host-sid",
        path: "/",
        domain: "",
        secure: true,
        partitioned: false,
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cookie::SameSite;

    #[test]
    fn a_cookie_is_bound_to_its_settings_in_a_fixed_order() {
        let cookie = CookieSettings {
            name: "__Secure-sid".into(),
            path: "/app".into(),
            domain: Some("example.com".into()),
            secure: true,
            http_only: true,
            same_site: SameSite::Lax,
            partitioned: false,
            persistent: true,
        };
        let parts: [&[u8]; 7] = [b"mps", b"cookie", b"__Secure-sid", b"/app", b"example.com", &[1], &[0]];
        assert_eq!(Scope::of_cookies("mps", &cookie).parts(), parts);
    }
}
