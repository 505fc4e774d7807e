#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("Invoicing:Created", implement("Invoicing:Event"))]
struct Typo {}

fn main() {}
