#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("CreateInvoice")]
struct NoNamespace {}

#[derive(serde::Serialize, serde::Deserialize, bus_core::Message)]
#[message("Invoicing:CreateInvoice", alias("MakeInvoice"))]
struct NoNamespaceOfAlias {}

fn main() {}
