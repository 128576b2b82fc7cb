//! A private PostgreSQL and a private gateway, so that trying, testing and measuring pg_ab needs nothing of the
//! machine but its PostgreSQL packages, and changes nothing of what runs there.
//!
//! * [`Server`] is a relocated copy of the installed server with the extension in it: no root needed, and no two
//!   checkouts overwrite each other's library.
//! * [`Cluster`] is a data directory on that server. The throwaway kind ends with the process that made it.
//! * [`Gateway`] is the `ab-gateway` binary as a child process.
//! * [`Home`] is the directory (`AB_HOME`) where all of it lives, and who owns it.

mod cluster;
mod gateway;
mod home;
mod leash;
pub mod process;
mod server;

pub use cluster::Cluster;
pub use gateway::Gateway;
pub use home::{Home, random_password};
pub use process::{ServerUser, free_port};
pub use server::{Server, built_file, target_directory};
