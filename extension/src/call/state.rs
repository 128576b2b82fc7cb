//! What an aggregate keeps between rows: an array of doubles that is changed where it is, or a value of Rust.
//!
//! PostgreSQL lets a transition function change the state that it was given, when it is an aggregate that calls: `avg` and
//! `var_samp` do it too. Anything else would allocate for each row.

use pgrx::{PgMemoryContexts, pg_sys};

use super::Call;

/// Where the elements of an array of one dimension without NULLs begin: behind its header, the length and the lower bound.
const ELEMENTS: usize = size_of::<pg_sys::ArrayType>() + 2 * size_of::<i32>();
const _: () = assert!(ELEMENTS.is_multiple_of(align_of::<f64>()));

#[expect(unsafe_code, reason = "reads and changes what PostgreSQL keeps for an aggregate")]
#[expect(clippy::mut_from_ref, reason = "what is changed is not the call's, but the aggregate's")]
impl Call {
    /// Whether an aggregate or window function calls, to which the first argument belongs.
    #[inline(always)]
    fn is_of_aggregate(&self) -> bool {
        // SAFETY: by the promise made to `new`; the context is null or a node, which begins with its tag.
        unsafe {
            let caller = (*self.info).context;
            !caller.is_null()
                && matches!((*caller).type_, pg_sys::NodeTag::T_AggState | pg_sys::NodeTag::T_WindowAggState)
        }
    }

    /// The elements of a `double precision[]` argument; `None` where it is NULL, holds one or has another shape.
    #[inline]
    pub fn doubles(&self, index: usize) -> Option<&[f64]> {
        let datum = self.argument(index)?;
        // SAFETY: the argument is declared as an array. What is stored plainly is read where it is, anything else is
        // unpacked into memory that stays for the call.
        unsafe { elements(pg_sys::pg_detoast_datum(datum.cast_mut_ptr())).map(|found| &*found) }
    }

    /// The first argument as an array of `N` doubles to change and to end the call with: the aggregate's own, otherwise a
    /// copy. `None` where it is no such array.
    #[inline(always)]
    pub fn state<const N: usize>(&self) -> Option<(pg_sys::Datum, &mut [f64; N])> {
        let (datum, numbers) = self.numbers()?;
        Some((datum, numbers.try_into().ok()?))
    }

    /// The same for an array of any length.
    #[inline(always)]
    pub fn numbers(&self) -> Option<(pg_sys::Datum, &mut [f64])> {
        let datum = self.argument(0)?;
        // SAFETY: the argument is declared as an array. An aggregate lets its transition function change it, and nothing
        // else refers to it meanwhile; where no aggregate calls, or it is packed, it is copied.
        unsafe {
            let stored: *mut pg_sys::varlena = datum.cast_mut_ptr();
            let whole = if self.is_of_aggregate() && pgrx::varatt_is_4b_u(stored) {
                stored
            } else {
                pg_sys::pg_detoast_datum_copy(stored)
            };
            Some((pg_sys::Datum::from(whole), elements(whole)?))
        }
    }

    /// The first argument as a value of Rust that the aggregate keeps, made by the first row.
    #[inline]
    pub fn kept<T: Default>(&self) -> (pg_sys::Datum, &mut T) {
        let datum = self.argument(0).unwrap_or_else(|| self.keep::<T>());
        // SAFETY: the argument is declared as `internal`, so it can only be what a function of the same aggregate has
        // answered, from `keep` or `hand_over`, and each type of state has functions of its own. Nothing else refers to it
        // during the call.
        (datum, unsafe { &mut *datum.cast_mut_ptr::<T>() })
    }

    /// An argument that [`Call::kept`] or [`Call::hand_over`] answered before; `None` where there has been no row.
    #[inline]
    pub fn read<T>(&self, index: usize) -> Option<&mut T> {
        // SAFETY: as for `kept`; two states of one call are never the same.
        self.argument(index).map(|datum| unsafe { &mut *datum.cast_mut_ptr::<T>() })
    }

    #[cold]
    fn keep<T: Default>(&self) -> pg_sys::Datum {
        let mut owner = std::ptr::null_mut();
        // SAFETY: by the promise made to `new`; what is kept is dropped with the memory of the aggregate.
        unsafe {
            if pg_sys::AggCheckCallContext(self.info, &mut owner) == 0 {
                pgrx::error!("only an aggregate may call this function");
            }
            pg_sys::Datum::from(PgMemoryContexts::For(owner).leak_and_drop_on_delete(T::default()))
        }
    }

    /// Ends the call with a value of Rust that lives as long as what is made for one row.
    pub fn hand_over<T>(&self, state: T) -> pg_sys::Datum {
        pg_sys::Datum::from(PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(state))
    }
}

/// The elements of an array of one dimension of doubles without NULLs.
///
/// # Safety
/// `array` must be an array that is stored plainly, which nothing else refers to while the elements are in use.
#[inline(always)]
#[expect(unsafe_code, reason = "reads a datum")]
unsafe fn elements<'call>(array: *mut pg_sys::varlena) -> Option<&'call mut [f64]> {
    // SAFETY: by the caller's promise; behind the header of such an array are as many elements as it says.
    unsafe {
        let header = array.cast::<pg_sys::ArrayType>();
        if (*header).ndim != 1 || (*header).dataoffset != 0 || (*header).elemtype != pg_sys::FLOAT8OID {
            return None;
        }
        let length = *header.add(1).cast::<i32>();
        let first = array.cast::<u8>().add(ELEMENTS).cast::<f64>();
        Some(std::slice::from_raw_parts_mut(first, usize::try_from(length).ok()?))
    }
}
