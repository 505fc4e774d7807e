//! The names of queues and exchanges that the framework itself makes.

use std::sync::LazyLock;

use uuid::Uuid;

use crate::codec::HostInfo;

/// Returns a name that no other process has.
///
/// It consists of machine, process, purpose and 26 random characters, as MassTransit makes it.
pub(crate) fn temporary(purpose: &str) -> String {
    static PREFIX: LazyLock<String> = LazyLock::new(|| {
        let host = HostInfo::current();
        let part = |name: &Option<String>| -> String {
            name.iter()
                .flat_map(|name| name.chars())
                .filter(char::is_ascii_alphanumeric)
                .take(14)
                .collect()
        };
        format!("{}_{}", part(&host.machine_name), part(&host.process_name))
    });
    unique(&format!("{}_{purpose}", *PREFIX))
}

/// Returns `prefix` and 26 characters of z-base-32, which hold 128 bits.
pub(crate) fn unique(prefix: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";
    let id = Uuid::new_v4().as_u128();
    let mut name = format!("{prefix}_");
    for position in (0..26).rev() {
        let digit = usize::try_from((id >> (5 * position)) & 31).unwrap_or_default();
        name.push(char::from(ALPHABET[digit]));
    }
    name
}
