//! Which worker gets a request.
//!
//! Owns: the defaults. Must never know: how it is chosen. Used by `settings`.

use super::times::DAY_MS;
use super::typed::AsTyped;
use super::value::{Named, Setting, SettingsError};
use crate::args::StickyArg;

const QUARANTINE_MS: u32 = 300_000;
const QUARANTINE_MS_LEAST: u32 = 1_000;
const COOKIE_NAME: &str = "hostler_route";
const COOKIE_LETTERS_MAX: usize = 32;

/// What a request's way depends on besides the workers' load.
#[derive(Debug)]
pub(crate) struct Routing {
    pub(crate) sticky: Setting<StickyArg>,
    pub(crate) sticky_cookie: Setting<String>,
    /// None is never.
    pub(crate) quarantine_ms: Setting<Option<u32>>,
}

impl Routing {
    pub(super) fn read(all: &AsTyped<'_>) -> Result<Self, SettingsError> {
        let (typed, app) = (&all.args.routing, &all.file.app);
        let sticky = all.choice(typed.sticky, app.sticky.as_ref())?;
        let cookie = typed.sticky_cookie.as_deref();
        let cookie =
            all.read("--sticky-cookie", cookie, app.sticky_cookie.as_ref(), cookie_name)?;
        let quarantine = |text: Named<'_>| match text.text.trim() {
            "off" => Ok(None),
            _ => text.duration_ms(&(QUARANTINE_MS_LEAST..=DAY_MS)).map(Some),
        };
        let typed = typed.quarantine.as_deref();
        let quarantine = all.read("--quarantine", typed, app.quarantine.as_ref(), quarantine)?;
        Ok(Self {
            quarantine_ms: Setting::chosen_or(quarantine, Some(QUARANTINE_MS)),
            sticky: Setting::chosen_or(sticky, StickyArg::Off),
            sticky_cookie: Setting::chosen_or(cookie, COOKIE_NAME.to_owned()),
        })
    }

    /// The name, if there is such a cookie.
    pub(crate) fn cookie(&self) -> Option<&str> {
        let by_cookie = matches!(self.sticky.value, StickyArg::Cookie | StickyArg::Both);
        by_cookie.then_some(&*self.sticky_cookie.value)
    }

    /// Are the sessions of Socket.IO followed?
    pub(crate) fn sessions(&self) -> bool {
        matches!(self.sticky.value, StickyArg::SocketIo | StickyArg::Both)
    }
}

/// RFC 6265 section 4.1.1 allows more, but nobody needs it.
fn cookie_name(text: Named<'_>) -> Result<String, SettingsError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let name = text.text;
    match (1..=COOKIE_LETTERS_MAX).contains(&name.len()) && name.bytes().all(good) {
        true => Ok(name.to_owned()),
        false => Err(text.expected(format!(
            "a name of 1 to {COOKIE_LETTERS_MAX} letters (a-z, A-Z, 0-9, _, . and -)"
        ))),
    }
}
