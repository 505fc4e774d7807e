//! Which process sent a message.

use serde::{Deserialize, Serialize};

/// The process that sent a message, in MassTransit's members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostInfo {
    /// The computer.
    pub machine_name: Option<String>,
    /// The program.
    pub process_name: Option<String>,
    /// The operating system's process id.
    pub process_id: Option<i64>,
    /// The program's package.
    pub assembly: Option<String>,
    /// The version of that package.
    pub assembly_version: Option<String>,
    /// The runtime.
    pub framework_version: Option<String>,
    /// The version of MassTransit; ours writes none.
    pub mass_transit_version: Option<String>,
    /// The operating system.
    pub operating_system_version: Option<String>,
}
