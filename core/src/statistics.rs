pub mod distribution;
