//! Which workspace a session speaks of: the setting `ab.workspace`.

use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};

static WORKSPACE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"default"));

/// How many times the setting has been set. An atomic only because it is static: a backend is one thread.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// Makes the setting known; before that it can be set already, and keeps what it was set to.
pub fn define() {
    // SAFETY: the hook is a function of this library, which a backend never unloads; it cannot panic.
    #[expect(unsafe_code, reason = "hands a hook to the server")]
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            c"ab.workspace",
            c"Workspace whose experiments and metrics this session means.",
            c"A default for names, not a security boundary.",
            &WORKSPACE,
            GucContext::Userset,
            GucFlags::default(),
            None,
            Some(setting_changes),
            None,
        );
    }
}

#[expect(unsafe_code, reason = "called by the server")]
unsafe extern "C-unwind" fn setting_changes(_value: *const c_char, _extra: *mut c_void) {
    CHANGES.fetch_add(1, Ordering::Relaxed);
}

/// How many times the session's workspace has been set: while it is the same, so is the workspace.
#[inline]
pub fn changes() -> u64 {
    CHANGES.load(Ordering::Relaxed)
}

/// Gives the session's workspace to `use_it` without copying it.
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
