#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("Invoicing Service:CreateInvoice")]
struct BadNamespace {}

#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("Invoicing:Create Invoice")]
struct BadName {}

fn main() {}
