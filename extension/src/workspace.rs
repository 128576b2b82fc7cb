//! Which workspace a session speaks of: the setting `ab.workspace`.

use std::ffi::{CStr, CString};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

static WORKSPACE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"default"));

/// Makes the setting known; before that it can be set already, and keeps what it was set to.
pub fn define() {
    GucRegistry::define_string_guc(
        c"ab.workspace",
        c"Workspace whose experiments and metrics this session means.",
        c"A default for names, not a security boundary.",
        &WORKSPACE,
        GucContext::Userset,
        GucFlags::default(),
    );
}

/// Gives the session's workspace to `use_it` without copying it: this is on the path of every assignment.
#[inline]
pub fn with_current<T>(use_it: impl FnOnce(&[u8]) -> T) -> T {
    // SAFETY: the pointer is to the variable that PostgreSQL keeps for this setting. Its value is null or a text that
    // ends in NUL and stays until the setting changes, which cannot happen while `use_it` borrows it on this, the only
    // thread: nothing called from there runs SQL.
    #[expect(unsafe_code, reason = "pgrx only offers a copy")]
    let current = unsafe {
        let value = *WORKSPACE.as_ptr();
        // Empty is what is left of a setting made before the library was there, once its transaction has ended.
        if value.is_null() || *value == 0 { c"default" } else { CStr::from_ptr(value) }
    };
    use_it(current.to_bytes())
}

/// The name of the session's workspace.
pub fn current() -> String {
    with_current(|current| String::from_utf8_lossy(current).into_owned())
}
