#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("Invoicing:Created")]
#[message("Invoicing:Made")]
struct Twice {}

fn main() {}
