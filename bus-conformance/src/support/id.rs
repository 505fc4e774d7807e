//! Ids of stages.

use uuid::Uuid;

/// Returns an id that no other stage has: short, and legal in every name.
pub fn unique_id() -> String {
    Uuid::new_v4().simple().to_string().split_off(20)
}
