//! Rows of messages that are sent again and again.

use uuid::Uuid;

/// Row of the table of recurring messages.
#[derive(Clone, Debug)]
pub struct RecurringRow {
    pub(crate) name: String,
    pub(crate) cron: String,
    pub(crate) zone: String,
    pub(crate) missed: i16,
    pub(crate) paused: bool,
    /// In microseconds since 1970.
    pub(crate) next_at: Option<i64>,
    pub(crate) destination: String,
    pub(crate) topology: Option<Uuid>,
    pub(crate) metadata: String,
    pub(crate) body: Vec<u8>,
}

/// Columns of a row, in the order of its fields.
pub(crate) type Columns = (
    String,
    String,
    String,
    i16,
    bool,
    Option<i64>,
    String,
    Option<Uuid>,
    String,
    Vec<u8>,
);

impl From<Columns> for RecurringRow {
    fn from(columns: Columns) -> Self {
        let (name, cron, zone, missed, paused, next_at, destination, topology, metadata, body) =
            columns;
        Self {
            name,
            cron,
            zone,
            missed,
            paused,
            next_at,
            destination,
            topology,
            metadata,
            body,
        }
    }
}
