//! A jsonb argument as the engine's context, read in place: no text, no copy, and only the values that rules ask for.

use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;

use ab_core::context::{Attribute, Context, number};
use pgrx::callconv::{Arg, ArgAbi};
use pgrx::{FromDatum, pg_sys};

#[expect(
    unsafe_code,
    reason = "a function of the server that pgrx would wrap at a cost we cannot pay for each row"
)]
mod server {
    use super::{c_char, c_int, pg_sys};

    unsafe extern "C-unwind" {
        /// With somewhere to put its result it allocates nothing, and it raises no error.
        pub fn getKeyJsonValueFromContainer(
            container: *mut pg_sys::JsonbContainer,
            key: *const c_char,
            length: c_int,
            result: *mut pg_sys::JsonbValue,
        ) -> *mut pg_sys::JsonbValue;
    }
}

/// A jsonb value, for as long as the call it was passed to.
pub struct JsonbContext<'call> {
    root: *mut pg_sys::JsonbContainer,
    call: PhantomData<&'call ()>,
}

impl JsonbContext<'_> {
    /// The context in a jsonb datum.
    ///
    /// # Safety
    /// `datum` must be a jsonb that stays where it is for as long as the result is used.
    #[expect(unsafe_code, reason = "reads a datum")]
    pub unsafe fn new<'call>(datum: pg_sys::Datum) -> JsonbContext<'call> {
        // SAFETY: the caller vouches for the datum. A jsonb with a one-byte header is copied, because what is behind it
        // must be aligned.
        unsafe {
            let stored: *mut pg_sys::varlena = datum.cast_mut_ptr();
            let whole = if pgrx::varatt_is_4b_u(stored) { stored } else { pg_sys::pg_detoast_datum(stored) };
            JsonbContext { root: pgrx::vardata_any(whole).cast_mut().cast(), call: PhantomData }
        }
    }

    #[expect(unsafe_code, reason = "walks a jsonb value")]
    fn find(&self, path: &[Box<str>]) -> Option<pg_sys::JsonbValue> {
        let mut container = self.root;
        let mut levels = path.iter();
        let mut level = levels.next()?;
        loop {
            // SAFETY: `container` is the root of a whole jsonb or was found in it, so it has a header; that it is of an
            // object is what the function needs. A union's part is read by the type that says which it is.
            unsafe {
                if (*container).header & pg_sys::JB_FOBJECT == 0 {
                    return None;
                }
                let mut value = std::mem::MaybeUninit::<pg_sys::JsonbValue>::uninit();
                let found = server::getKeyJsonValueFromContainer(
                    container,
                    level.as_ptr().cast(),
                    c_int::try_from(level.len()).ok()?,
                    value.as_mut_ptr(),
                );
                if found.is_null() {
                    return None;
                }
                let value = value.assume_init();
                let Some(next) = levels.next() else { return Some(value) };
                if value.type_ != pg_sys::jbvType::jbvBinary {
                    return None;
                }
                level = next;
                container = value.val.binary.data;
            }
        }
    }
}

impl Context for JsonbContext<'_> {
    fn attribute(&self, path: &[Box<str>]) -> Option<Attribute<'_>> {
        let value = self.find(path)?;
        attribute(&value)
    }
}

/// One value out of a jsonb, borrowed from it.
#[expect(unsafe_code, reason = "reads the parts of a jsonb value")]
fn attribute<'a>(value: &pg_sys::JsonbValue) -> Option<Attribute<'a>> {
    // SAFETY: a union's part is read by the type that says which it is; what it points to is in the jsonb, which outlives
    // the call this is part of.
    unsafe {
        match value.type_ {
            pg_sys::jbvType::jbvBool => Some(Attribute::Boolean(value.val.boolean)),
            pg_sys::jbvType::jbvString => {
                let string = value.val.string;
                let bytes = std::slice::from_raw_parts(string.val.cast(), string.len as usize);
                // Anything but UTF-8 can only be in a database in SQL_ASCII, and is no text to us.
                std::str::from_utf8(bytes).ok().map(|text| Attribute::Text(Cow::Borrowed(text)))
            }
            pg_sys::jbvType::jbvNumeric => Some(Attribute::Number(decimal(value.val.numeric))),
            pg_sys::jbvType::jbvBinary => {
                let container = value.val.binary.data;
                let header = (*container).header;
                if header & pg_sys::JB_FOBJECT != 0 {
                    return Some(Attribute::Object);
                }
                let elements = (0..header & pg_sys::JB_CMASK).filter_map(|index| {
                    let element = pg_sys::getIthJsonbValueFromContainer(container, index);
                    if element.is_null() { None } else { attribute(&*element) }
                });
                Some(Attribute::Array(elements.collect()))
            }
            _ => None,
        }
    }
}

#[expect(unsafe_code, reason = "calls into the server")]
fn decimal(numeric: pg_sys::Numeric) -> Option<rust_decimal::Decimal> {
    // SAFETY: the numeric is part of a jsonb, where it is whole and aligned. Its text is ours until the memory context
    // of the call goes.
    unsafe {
        let text = pg_sys::numeric_normalize(numeric);
        number(CStr::from_ptr(text).to_str().ok()?)
    }
}

#[expect(unsafe_code, reason = "the trait is unsafe because the type of a datum cannot be checked")]
impl FromDatum for JsonbContext<'_> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _type: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: used for arguments only, which are declared as jsonb in sql/ and stay for the call.
        (!is_null).then(|| unsafe { JsonbContext::new(datum) })
    }
}

#[expect(unsafe_code, reason = "the trait is unsafe because the type of a datum cannot be checked")]
// SAFETY: the argument is read as what `FromDatum` makes of it.
unsafe impl<'call> ArgAbi<'call> for JsonbContext<'call> {
    unsafe fn unbox_arg_unchecked(argument: Arg<'_, 'call>) -> Self {
        // SAFETY: as required of the caller, the argument is a jsonb and not null.
        unsafe { argument.unbox_arg_using_from_datum() }.expect("the argument is not null")
    }
}
