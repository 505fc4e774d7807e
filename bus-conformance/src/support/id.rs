//! Ids of test brokers.

use uuid::Uuid;

/// Returns an id that no other test broker has: short, and legal in every name.
pub fn unique_id() -> String {
    Uuid::new_v4().simple().to_string().split_off(20)
}
