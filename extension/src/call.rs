//! The arguments, the result and the memory of a call that is made for each row of a table.
//!
//! What pgrx does for every function is too much for one that takes fifty nanoseconds itself; everything here is what
//! PostgreSQL's own functions in C do.

mod state;

use std::cell::RefCell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicI32, Ordering};

use pgrx::{PgMemoryContexts, pg_sys};

#[expect(
    unsafe_code,
    reason = "a function of the server that pgrx would wrap at a cost we cannot pay for each row"
)]
mod server {
    use super::{c_int, pg_sys};

    unsafe extern "C-unwind" {
        /// With [`super::NO_ERROR`] it raises no error.
        pub fn MemoryContextAllocExtended(
            context: pg_sys::MemoryContext,
            size: usize,
            flags: c_int,
        ) -> *mut std::ffi::c_void;
        pub safe fn GetDatabaseEncoding() -> c_int;
    }
}

/// `MaxAllocSize` of PostgreSQL less the header of a value.
const MOST_BYTES: usize = 0x3fff_ffff - pg_sys::VARHDRSZ;

const NO_ERROR: c_int = pg_sys::MCXT_ALLOC_NO_OOM as c_int;

/// Whether texts of this database are known to be UTF-8: a backend never leaves its database, so it is asked for once.
#[inline]
fn is_utf8() -> bool {
    static ENCODING: AtomicI32 = AtomicI32::new(-1);
    let mut encoding = ENCODING.load(Ordering::Relaxed);
    if encoding < 0 {
        encoding = server::GetDatabaseEncoding();
        ENCODING.store(encoding, Ordering::Relaxed);
    }
    encoding == pg_sys::pg_enc::PG_UTF8 as c_int
}

/// One call of a function.
pub struct Call {
    info: pg_sys::FunctionCallInfo,
}

#[expect(unsafe_code, reason = "reads what PostgreSQL passes to a function")]
impl Call {
    /// # Safety
    /// `info` must be what PostgreSQL passed to the function that is being called.
    pub unsafe fn new(info: pg_sys::FunctionCallInfo) -> Call {
        Call { info }
    }

    /// How many arguments the function was called with.
    pub fn count(&self) -> usize {
        // SAFETY: by the promise made to `new`.
        unsafe { (*self.info).nargs as usize }
    }

    /// An argument, `None` where it is NULL; there must be one at `index`.
    #[inline]
    pub fn argument(&self, index: usize) -> Option<pg_sys::Datum> {
        debug_assert!(index < self.count());
        // SAFETY: by the promise made to `new`, there are as many arguments as sql/ declares.
        let argument = unsafe { &*(*self.info).args.as_ptr().add(index) };
        (!argument.isnull).then_some(argument.value)
    }

    /// A `double precision` argument, `None` where it is NULL.
    #[inline]
    pub fn double(&self, index: usize) -> Option<f64> {
        self.argument(index).map(|datum| f64::from_bits(datum.value() as u64))
    }

    /// The bytes of a text or bytea argument; none where it is NULL.
    #[inline(always)]
    pub fn bytes(&self, index: usize) -> &[u8] {
        let Some(datum) = self.argument(index) else { return &[] };
        // SAFETY: the argument is declared as text or bytea. What is stored plainly is read where it is, anything else is unpacked
        // into memory that stays for the call.
        unsafe {
            let stored: *mut pg_sys::varlena = datum.cast_mut_ptr();
            let whole = if pgrx::varatt_is_4b_u(stored)
                || (pgrx::varatt_is_1b(stored) && !pgrx::varatt_is_1b_e(stored))
            {
                stored
            } else {
                pg_sys::pg_detoast_datum_packed(stored)
            };
            std::slice::from_raw_parts(pgrx::vardata_any(whole).cast::<u8>(), pgrx::varsize_any_exhdr(whole))
        }
    }

    /// A text argument; empty where it is NULL, or, in a database in SQL_ASCII, where it is not UTF-8.
    #[inline]
    pub fn text(&self, index: usize) -> &str {
        let bytes = self.bytes(index);
        if is_utf8() {
            // SAFETY: PostgreSQL lets no text into a database in UTF-8 that is none.
            unsafe { std::str::from_utf8_unchecked(bytes) }
        } else {
            std::str::from_utf8(bytes).unwrap_or_default()
        }
    }

    /// Whether this place in the query has a constant for an argument, so that it is the same in every call from there.
    pub fn is_constant(&self, index: usize) -> bool {
        // SAFETY: `flinfo` is null or lives as long as the query, and so does the expression it is called by.
        unsafe {
            let place = (*self.info).flinfo;
            if place.is_null()
                || (*place).fn_expr.is_null()
                || !pgrx::is_a((*place).fn_expr, pg_sys::NodeTag::T_FuncExpr)
            {
                return false;
            }
            let arguments = (*(*place).fn_expr.cast::<pg_sys::FuncExpr>()).args;
            let argument = pg_sys::list_nth(arguments, index as c_int).cast::<pg_sys::Node>();
            pgrx::is_a(argument, pg_sys::NodeTag::T_Const)
        }
    }

    /// What this place in the query keeps from call to call; `None` where the call is from no query.
    #[inline]
    pub fn site<T: Default>(&self) -> Option<&RefCell<T>> {
        // SAFETY: `flinfo` is null or lives as long as the query. What is hung upon it is made here, of this one type for
        // each function, and dropped with the memory context that it is said to be in.
        unsafe {
            let place = (*self.info).flinfo;
            if place.is_null() {
                return None;
            }
            if (*place).fn_extra.is_null() {
                let kept =
                    PgMemoryContexts::For((*place).fn_mcxt).leak_and_drop_on_delete(RefCell::<T>::default());
                (*place).fn_extra = kept.cast();
            }
            Some(&*(*place).fn_extra.cast::<RefCell<T>>())
        }
    }

    /// Ends the call with a text.
    #[inline]
    pub fn return_text(&self, text: &str) -> pg_sys::Datum {
        self.return_bytes(text.as_bytes())
    }

    /// Ends the call with a bytea, or with a text, which is laid out the same.
    #[inline]
    pub fn return_bytes(&self, bytes: &[u8]) -> pg_sys::Datum {
        if bytes.len() > MOST_BYTES {
            pgrx::ereport!(
                ERROR,
                pgrx::PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!("{} bytes are more than PostgreSQL stores in one value", bytes.len())
            );
        }
        // SAFETY: as much is allocated as is written, in the memory context in which results are expected.
        unsafe {
            let size = pg_sys::VARHDRSZ + bytes.len();
            let place =
                server::MemoryContextAllocExtended(pg_sys::CurrentMemoryContext, size, NO_ERROR).cast::<u8>();
            if place.is_null() {
                pgrx::error!("out of memory");
            }
            pgrx::set_varsize_4b(place.cast(), size as i32);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place.add(pg_sys::VARHDRSZ), bytes.len());
            pg_sys::Datum::from(place)
        }
    }

    /// Ends the call with a text that its [`Call::site`] keeps.
    #[inline]
    pub fn return_kept(&self, text: &KeptText) -> pg_sys::Datum {
        pg_sys::Datum::from(text.0[1..].as_ptr())
    }

    /// Ends the call with a row of the composite type that the function is declared to return.
    pub fn return_row(&self, columns: Vec<Option<pg_sys::Datum>>) -> pg_sys::Datum {
        // SAFETY: by the promise made to `new`; the row is made of as many values as its type has columns, and sql/ declares
        // the type with the columns that the function fills in.
        unsafe {
            let mut described = std::ptr::null_mut();
            let class = pg_sys::get_call_result_type(self.info, std::ptr::null_mut(), &mut described);
            if class != pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE
                || usize::try_from((*described).natts) != Ok(columns.len())
            {
                pgrx::error!("the row has {} columns, which is not what sql/ declares", columns.len());
            }
            let mut nulls: Vec<bool> = columns.iter().map(Option::is_none).collect();
            let mut values: Vec<pg_sys::Datum> =
                columns.into_iter().map(|column| column.unwrap_or(pg_sys::Datum::null())).collect();
            let described = pg_sys::BlessTupleDesc(described);
            let tuple = pg_sys::heap_form_tuple(described, values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)
        }
    }

    /// Ends the call with NULL.
    #[inline]
    pub fn return_null(&self) -> pg_sys::Datum {
        // SAFETY: by the promise made to `new`.
        unsafe { (*self.info).isnull = true };
        pg_sys::Datum::null()
    }
}

/// A text as PostgreSQL stores it, for a [`Call::site`] to keep and to answer with again and again.
///
/// Whoever calls a function may read its result until the next call from the same place in the query, before which it has
/// copied what it still needs: the memory of one row is given back before the next. So what is kept for a place may be
/// answered without a copy as long as it stays until the next call from there.
///
/// The first word is none of the text: PostgreSQL before 16 may look in front of a result for the memory context that it is
/// in, and finds that it is in none.
pub struct KeptText(Box<[u64]>);

impl KeptText {
    /// Lays out `text`.
    pub fn new(text: &str) -> KeptText {
        let size = pg_sys::VARHDRSZ + text.len();
        let mut words = vec![0_u64; 1 + size.div_ceil(size_of::<u64>())].into_boxed_slice();
        // SAFETY: as many bytes as are written were allocated, aligned as the header must be.
        #[expect(unsafe_code, reason = "lays out a datum")]
        unsafe {
            let place = words[1..].as_mut_ptr().cast::<u8>();
            pgrx::set_varsize_4b(place.cast(), size as i32);
            std::ptr::copy_nonoverlapping(text.as_ptr(), place.add(pg_sys::VARHDRSZ), text.len());
        }
        KeptText(words)
    }
}

/// Makes a function of a [`Call`] known to PostgreSQL by the name that sql/ declares it with.
macro_rules! row_function {
    ($(#[$doc:meta])* $name:ident, $finfo:ident, $body:expr) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// For PostgreSQL to call.
        #[expect(unsafe_code, reason = "called by the server")]
        #[unsafe(no_mangle)]
        #[pgrx::pg_guard]
        pub unsafe extern "C-unwind" fn $name(info: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
            // SAFETY: PostgreSQL passed it.
            let call = unsafe { $crate::call::Call::new(info) };
            #[allow(clippy::redundant_closure_call, reason = "the body may be a function or a closure")]
            ($body)(&call)
        }

        /// Tells PostgreSQL how to call it.
        #[expect(unsafe_code, reason = "looked up by the server")]
        #[unsafe(no_mangle)]
        pub extern "C" fn $finfo() -> &'static pgrx::pg_sys::Pg_finfo_record {
            const RECORD: pgrx::pg_sys::Pg_finfo_record = pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
            &RECORD
        }
    };
}
pub(crate) use row_function;
