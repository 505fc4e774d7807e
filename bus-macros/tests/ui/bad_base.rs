#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("Invoicing:Created", implements("Invoicing:"))]
struct BadBase {}

fn main() {}
