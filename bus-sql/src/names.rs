//! Names of the tables, and the text of statements on them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use sqlx::AssertSqlSafe;

use crate::error::{SqlError, SqlErrorKind};

/// Default prefix of the tables.
const PREFIX: &str = "bus_";

/// Longest prefix or schema; PostgreSQL cuts names after 63 bytes.
const LONGEST: usize = 31;

/// Statement whose text was made of a constant and of names that were checked.
pub(crate) type Statement = AssertSqlSafe<Arc<str>>;

/// Names of the tables of one service.
#[derive(Debug)]
pub struct Names {
    prefix: String,
    schema: Option<String>,
    /// The text of each statement, by its template.
    texts: RwLock<HashMap<&'static str, Arc<str>>>,
}

impl Default for Names {
    fn default() -> Self {
        Self::new(PREFIX.to_owned(), None)
    }
}

impl Names {
    fn new(prefix: String, schema: Option<String>) -> Self {
        Self {
            prefix,
            schema,
            texts: RwLock::default(),
        }
    }

    pub(crate) fn with_prefix(&self, prefix: &str) -> Self {
        Self::new(prefix.to_owned(), self.schema.clone())
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn with_schema(&self, schema: &str) -> Self {
        Self::new(self.prefix.clone(), Some(schema.to_owned()))
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Refuses names that would have to be quoted.
    pub(crate) fn check(&self) -> Result<(), SqlError> {
        let named = [
            ("table prefix", Some(&self.prefix)),
            ("schema", self.schema.as_ref()),
        ];
        for (part, name) in named {
            if let Some(name) = name.filter(|name| !is_plain(name)) {
                let text = format!(
                    "the {part} `{name}` must be 1 to {LONGEST} of a-z, 0-9 and _, not beginning with a digit"
                );
                return Err(SqlError::new(SqlErrorKind::Configuration, text));
            }
        }
        Ok(())
    }

    /// The statement of a template.
    ///
    /// `{t}` stands for the schema and prefix of a table, `{i}` for the prefix alone.
    pub(crate) fn sql(&self, template: &'static str) -> Statement {
        let texts = self.texts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = texts.get(template) {
            return AssertSqlSafe(Arc::clone(text));
        }
        drop(texts);
        let text: Arc<str> = self.fill(template).into();
        let mut texts = self.texts.write().unwrap_or_else(PoisonError::into_inner);
        texts.insert(template, Arc::clone(&text));
        AssertSqlSafe(text)
    }

    /// The texts of all statements that were made so far.
    #[cfg(all(test, feature = "sqlite"))]
    pub(crate) fn texts(&self) -> Vec<Arc<str>> {
        let texts = self.texts.read().unwrap_or_else(PoisonError::into_inner);
        texts.values().cloned().collect()
    }

    /// The text of [`sql`](Self::sql), for people.
    pub(crate) fn fill(&self, template: &str) -> String {
        let table = match &self.schema {
            Some(schema) => format!("{schema}.{}", self.prefix),
            None => self.prefix.clone(),
        };
        template.replace("{t}", &table).replace("{i}", &self.prefix)
    }
}

fn is_plain(name: &str) -> bool {
    let mut letters = name.bytes();
    let first = letters.next();
    first.is_some_and(|letter| letter.is_ascii_lowercase() || letter == b'_')
        && name.len() <= LONGEST
        && letters
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_statements() {
        let names = Names::default();
        assert_eq!(
            &*names.sql("DELETE FROM {t}inbox").0,
            "DELETE FROM bus_inbox"
        );
        let names = Names::new("x_".to_owned(), Some("app".to_owned()));
        let text = names.sql("CREATE INDEX {i}age ON {t}inbox (at)").0;
        assert_eq!(&*text, "CREATE INDEX x_age ON app.x_inbox (at)");
    }

    #[test]
    fn names_that_need_quotes_are_refused() {
        for bad in [
            "",
            "Bus_",
            "1bus",
            "bus-",
            "bus; drop table x; --",
            "ü",
            &"b".repeat(32),
        ] {
            let names = Names::default().with_prefix(bad);
            let error = names.check().expect_err(bad);
            assert_eq!(error.kind(), SqlErrorKind::Configuration);
            assert!(error.to_string().contains(bad));
        }
        for good in ["bus_", "_", "invoices2_", &"b".repeat(31)] {
            assert!(Names::default().with_prefix(good).check().is_ok(), "{good}");
        }
    }
}
