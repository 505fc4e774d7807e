#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("Invoicing:Unit")]
struct Unit;

#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("Invoicing:Pair")]
struct Pair(u32, u32);

fn main() {}
