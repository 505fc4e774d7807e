#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message]
struct Empty {}

fn main() {}
