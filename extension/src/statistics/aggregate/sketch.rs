//! Sketches of values, to be stored and merged.

use ab_core::statistics::sketch::QuantileSketch;

use super::{accepted, internal_state};
use crate::call::{Call, row_function};

/// A sketch as parallel workers take it for theirs.
#[derive(Default)]
struct Sketch(QuantileSketch);

impl Sketch {
    fn merge(&mut self, part: &Sketch) {
        self.0.merge(&part.0);
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Sketch> {
        QuantileSketch::from_bytes(bytes).ok().map(Sketch)
    }
}

internal_state!(
    Sketch,
    sketch_merge pg_finfo_sketch_merge,
    sketch_to_bytes pg_finfo_sketch_to_bytes,
    sketch_from_bytes pg_finfo_sketch_from_bytes
);

row_function!(
    /// A row of `ab_quantile_sketch`.
    sketch_add,
    pg_finfo_sketch_add,
    |call: &Call| {
        let (datum, Sketch(sketch)) = call.kept::<Sketch>();
        if let Some(value) = call.double(1) {
            accepted(sketch.add("value", value));
        }
        datum
    }
);

row_function!(
    /// A row of `ab_quantile_sketch_merge`.
    sketch_add_stored,
    pg_finfo_sketch_add_stored,
    |call: &Call| {
        let (datum, Sketch(sketch)) = call.kept::<Sketch>();
        if call.argument(1).is_some() {
            sketch.merge(&accepted(QuantileSketch::from_bytes(call.bytes(1))));
        }
        datum
    }
);

row_function!(
    /// The sketch to store; without rows one that changes nothing when it is merged.
    sketch_stored,
    pg_finfo_sketch_stored,
    |call: &Call| match call.read::<Sketch>(0) {
        Some(sketch) => call.return_bytes(&sketch.to_bytes()),
        None => call.return_bytes(&Sketch::default().to_bytes()),
    }
);
