//! The process that sent a message.

use std::sync::LazyLock;
use std::{env, fs, process};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use crate::codec::{self, DecodeError};
use crate::message::{HeaderValue, Headers};

/// The process that sent a message, in MassTransit's members.
///
/// ```
/// use bus_core::codec::HostInfo;
///
/// let sender = HostInfo::from_json(br#"{"machineName":"web-1","processId":4312}"#)?;
/// assert_eq!(sender.machine_name.as_deref(), Some("web-1"));
/// assert_eq!(sender.process_id, Some(4312));
/// # Ok::<(), bus_core::codec::DecodeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostInfo {
    /// Name of the computer.
    pub machine_name: Option<String>,
    /// Name of the program.
    pub process_name: Option<String>,
    /// Process id in the operating system.
    pub process_id: Option<i64>,
    /// Package that wrote the message; this crate writes its own name.
    pub assembly: Option<String>,
    /// Version of that package.
    pub assembly_version: Option<String>,
    /// Runtime; this crate writes the compiler.
    pub framework_version: Option<String>,
    /// Version of MassTransit; this crate writes none.
    pub mass_transit_version: Option<String>,
    /// Operating system and its version.
    pub operating_system_version: Option<String>,
}

impl HostInfo {
    /// Returns this process; looked up once.
    pub fn current() -> &'static Self {
        static CURRENT: LazyLock<HostInfo> = LazyLock::new(HostInfo::look_up);
        &CURRENT
    }

    /// Returns this process as the JSON that every envelope carries; written once.
    pub fn current_json() -> &'static Bytes {
        static JSON: LazyLock<Bytes> = LazyLock::new(|| codec::to_json(HostInfo::current()));
        &JSON
    }

    /// Reads the `host` member of an envelope or fault.
    ///
    /// The case of member names does not matter; unknown members are skipped.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not a JSON object.
    pub fn from_json(json: &[u8]) -> Result<Self, DecodeError> {
        codec::from_json(json)
    }

    fn look_up() -> Self {
        let program = env::current_exe().ok();
        let program = program.as_deref().and_then(|path| path.file_stem());
        let release = read_line("/proc/sys/kernel/osrelease");
        let system = [Some(env::consts::OS.to_owned()), release];
        Self {
            machine_name: machine_name(),
            process_name: program.map(|name| name.to_string_lossy().into_owned()),
            process_id: Some(process::id().into()),
            assembly: Some(env!("CARGO_PKG_NAME").to_owned()),
            assembly_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            framework_version: Some(concat!("rust-", env!("BUS_CORE_RUSTC")).to_owned()),
            mass_transit_version: None,
            operating_system_version: Some(
                system.into_iter().flatten().collect::<Vec<_>>().join(" "),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for HostInfo {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // System.Text.Json writes `machineName` and Newtonsoft `MachineName`; headers are looked up
        // in any case.
        let members = Headers::deserialize(deserializer)?;
        let text = |name| members.text(name).map(str::to_owned);
        Ok(Self {
            machine_name: text("machineName"),
            process_name: text("processName"),
            process_id: members.get("processId").and_then(HeaderValue::as_i64),
            assembly: text("assembly"),
            assembly_version: text("assemblyVersion"),
            framework_version: text("frameworkVersion"),
            mass_transit_version: text("massTransitVersion"),
            operating_system_version: text("operatingSystemVersion"),
        })
    }
}

/// Name of the computer: of the kernel, else of the environment.
///
/// A container has its own; no call of the operating system needs `unsafe` this way.
fn machine_name() -> Option<String> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    read_line("/proc/sys/kernel/hostname")
        .or_else(|| variable("COMPUTERNAME"))
        .or_else(|| variable("HOSTNAME"))
        .or_else(|| read_line("/etc/hostname"))
}

fn read_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_survives_its_json() {
        let host = HostInfo::from_json(HostInfo::current_json()).unwrap();
        assert_eq!(&host, HostInfo::current());
        assert_eq!(host.process_id, Some(process::id().into()));
        assert!(host.machine_name.is_some() && host.process_name.is_some());
        assert_eq!(host.mass_transit_version, None);
    }

    #[test]
    fn both_spellings_of_dotnet_are_read() {
        let host = HostInfo::from_json(br#"{"MachineName":"vm","ProcessId":7,"x":[1]}"#).unwrap();
        assert_eq!(host.machine_name.as_deref(), Some("vm"));
        assert_eq!(host.process_id, Some(7));
        assert!(HostInfo::from_json(b"[]").is_err());
    }
}
