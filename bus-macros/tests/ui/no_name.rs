#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
struct Nameless {}

fn main() {}
