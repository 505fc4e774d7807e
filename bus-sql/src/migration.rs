//! Versions of the tables.

/// Statements that bring the tables from one version to the next.
///
/// See [`Sql::migrations`](crate::Sql::migrations).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Migration {
    /// Version of the tables after it.
    pub version: i32,
    /// Oldest version whose programs can still work with the tables after it.
    pub readable_by: i32,
    /// Statements, with the names of the tables as configured.
    pub sql: std::borrow::Cow<'static, str>,
}

impl Migration {
    /// A migration whose statements have templates for names.
    pub(crate) const fn new(version: i32, readable_by: i32, sql: &'static str) -> Self {
        Self {
            version,
            readable_by,
            sql: std::borrow::Cow::Borrowed(sql),
        }
    }
}

/// Version of the tables in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installed {
    pub(crate) version: i32,
    pub(crate) readable_by: i32,
}
