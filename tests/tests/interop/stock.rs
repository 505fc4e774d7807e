//! A query and its documents.

use std::time::Duration;

use bus_core::request::OneOf2;
use bus_tests::acme::{CheckStock, SkuUnknown, StockLevels};

pub(crate) type Stock = OneOf2<StockLevels, SkuUnknown>;

pub(crate) const MANY: usize = 1000;

/// 2026-02-07T14:05:09Z, which the peer says too.
const AS_OF: Duration = Duration::from_secs(1_770_473_109);

pub(crate) fn check(sku: impl Into<String>) -> CheckStock {
    CheckStock { sku: sku.into() }
}

pub(crate) fn levels(sku: &str) -> StockLevels {
    StockLevels {
        sku: sku.to_owned(),
        on_hand: i32::try_from(sku.len()).expect("short"),
        as_of: (std::time::UNIX_EPOCH + AS_OF).into(),
    }
}
