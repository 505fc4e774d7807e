#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("Invoicing:Created", alias("1st:Name"))]
struct BadAlias {}

fn main() {}
